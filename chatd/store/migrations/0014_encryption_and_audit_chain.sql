-- Encryption of content at rest, and a chain over the audit log.
ALTER TABLE messages
    DROP CONSTRAINT messages_content_check,
    ADD CONSTRAINT messages_content_check CHECK (
        char_length(content) <= 16384
        OR starts_with(content, E'\x01') AND char_length(content) <= 90000
    );

-- The text of a message that an excerpt points to: where texts are sealed nothing can be cut out of
-- them, so what append_messages() has cut off is only good for the version that it names. A text that
-- is not sealed any more is cut here, a sealed one by the daemon.
CREATE FUNCTION quoted_text(parent messages, excerpt text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN starts_with(said, E'\x01') THEN said ELSE left(said, 200) END
    FROM (SELECT substring(excerpt FROM E'^\x01m[A-Za-z0-9_-]+:([0-9]{1,9}):')::integer AS version) w
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN w.version = parent.version THEN parent.content
            WHEN w.version IS NOT NULL THEN coalesce((
                SELECT r.content FROM message_revisions r
                WHERE r.message_id = parent.id AND r.version = w.version
            ), excerpt)
            ELSE excerpt
        END AS said
    ) quoted
$$;

-- What a reply shows of the message it answers: [id, seq, user id, name, avatar, excerpt].
CREATE OR REPLACE FUNCTION reply_of(parent uuid, excerpt text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(
        m.id, m.seq, u.id, u.name, u.avatar_url,
        CASE WHEN starts_with(excerpt, E'\x01m') THEN quoted_text(m, excerpt) ELSE excerpt END
    )
    FROM messages m
    JOIN users u ON u.id = m.sender_id
    WHERE m.id = parent
$$;

-- Text as it is compared: without case, accents and the widths of letters; of a sealed text nothing.
CREATE OR REPLACE FUNCTION search_text(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN starts_with(content, E'\x01') THEN ''
        WHEN octet_length(content) = char_length(content) THEN lower(content COLLATE "C")
        ELSE translate(normalize(
            search_lower(regexp_replace(normalize(content, NFKD), '[\u0300-\u036f]', '', 'g')), NFC
        ), 'ςøłđı', 'σoldi') COLLATE "C"
    END
$$;

-- The keys that stored content may be sealed with (chatd/keyring.py has the form); never the keys.
CREATE TABLE content_keys (
    kid text PRIMARY KEY,
    fingerprint text NOT NULL,  -- tells another key under the same name
    since timestamptz NOT NULL,
    given_up_at timestamptz  -- the operator has: what it seals stays unreadable
);

-- The latest walk through all content, which writes it anew with the key `target` or as plain text:
-- by session and `seq`, and this far. None: nothing was ever sealed.
CREATE TABLE content_pass (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    target text NOT NULL,
    begun_at timestamptz NOT NULL,
    finished_at timestamptz,
    changed bigint NOT NULL DEFAULT 0,  -- texts
    session_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    seq bigint NOT NULL DEFAULT 0
);

-- The salts of lines that are there, and of those that come.
ALTER TABLE audit_log ADD COLUMN salt uuid DEFAULT gen_random_uuid();

-- What was erased before has none.
UPDATE audit_log a SET salt = NULL
FROM users u
WHERE u.id = a.user_id AND u.erased_at IS NOT NULL AND a.session_id IS NULL
    AND a.address IS NULL AND a.details = '{}';

-- The audit log is only added to; of an erased account's lines what told of the person may go, once.
CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'UPDATE' AND tg_table_name = 'audit_log' THEN
        IF new.salt IS NULL AND new.address IS NULL AND new.details = '{}'
            AND (new.id, new.at, new.action, new.user_id, new.session_id, new.target_id)
                IS NOT DISTINCT FROM
                (old.id, old.at, old.action, old.user_id, old.session_id, old.target_id)
        THEN
            RETURN new;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$$;

-- A chain over the audit log, in the order of commits: each hash covers the one before it and the
-- line, so that none can be changed, removed or put elsewhere without the chain telling
-- (chatd/audit_chain.py, `chatd audit verify`). What may be erased is in it by a salted digest: without
-- salt and value nobody can guess it, and the chain still holds.
CREATE TABLE audit_chain (
    position bigint PRIMARY KEY,
    audit_id bigint NOT NULL UNIQUE,
    erasable bytea NOT NULL,  -- SHA-256 of salt, address, details
    hash bytea NOT NULL
);

CREATE FUNCTION chain_audit(entry audit_log) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    head audit_chain;
    place bigint;
    digest bytea := sha256(convert_to(concat_ws('|',
        entry.salt, coalesce(char_length(entry.address), -1), coalesce(entry.address, ''),
        entry.details::text
    ), 'UTF8'));
BEGIN
    SELECT * INTO head FROM audit_chain ORDER BY position DESC LIMIT 1;
    place := coalesce(head.position, 0) + 1;
    INSERT INTO audit_chain (position, audit_id, erasable, hash)
    VALUES (place, entry.id, digest, sha256(coalesce(head.hash, '') || convert_to(concat_ws('|',
        place, entry.id, (extract(epoch FROM entry.at) * 1000000)::bigint, entry.action,
        coalesce(entry.user_id::text, '-'), coalesce(entry.session_id::text, '-'),
        coalesce(entry.target_id::text, '-'), encode(digest, 'hex')
    ), 'UTF8')));
END
$$;

-- Deferred to the commit: whoever waits for this lock holds all others already and takes no more, so
-- nobody waits for them in a circle; and it is held for the flush of a commit, not for a transaction.
CREATE FUNCTION chain_audit_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1633903716);
    PERFORM chain_audit(new);
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER audit_log_chain AFTER INSERT ON audit_log
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION chain_audit_line();
CREATE TRIGGER audit_log_keep BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION keep_audit();
CREATE TRIGGER audit_log_keep_all BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION keep_audit();
CREATE TRIGGER audit_chain_keep BEFORE UPDATE OR DELETE ON audit_chain
    FOR EACH ROW EXECUTE FUNCTION keep_audit();
CREATE TRIGGER audit_chain_keep_all BEFORE TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION keep_audit();

SELECT chain_audit(line) FROM (SELECT a FROM audit_log a ORDER BY a.id) lines (line);
