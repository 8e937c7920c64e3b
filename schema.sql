-- What a fresh database looks like: PostgreSQL 15 or newer, no extension.
-- chatd makes it by its migrations (chatd/store/migrations); a test proves that both are equal.
--
-- Every durable change of a session (message, member, name) locks the session's row and takes the
-- next `seq`. The row that changed remembers it as `changed_seq`, so "everything since seq N" is a
-- scan of (session_id, changed_seq) that returns current state. Text is stored as it came.

CREATE TABLE settings (
    name text PRIMARY KEY,
    value text NOT NULL
);

-- The epoch names this log: it changes only when history is reset, so that positions in the old
-- log are not taken for positions in the new one.
INSERT INTO settings (name, value) VALUES
    ('epoch', gen_random_uuid()::text),
    ('schema_version', '20');

-- People

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (email <> ''),
    name text NOT NULL CHECK (name <> ''),
    -- A picture, elsewhere or a file here, or a colour instead of the one that the id gives.
    avatar_url text CHECK (avatar_url ~ '^(https://.+|#[0-9a-f]{6}|/avatars/[0-9a-f-]{36})$'),
    password_hash text,
    created_at timestamptz NOT NULL,
    last_seen timestamptz,
    manual_status text CHECK (manual_status IN ('BUSY', 'INVISIBLE')),
    status_text text,
    status_until timestamptz,
    search_name text NOT NULL DEFAULT '',  -- the name as it is searched for, folded by the daemon
    erased_at timestamptz,  -- nothing of theirs is left but the place in sessions
    email_verified_at timestamptz,  -- when chatd itself saw that mail there is read
    -- Who made this bot. That an account is a bot stands in its id: the version of the UUID is 8.
    owner_id uuid REFERENCES users CHECK (owner_id IS NULL OR substr(id::text, 15, 1) = '8')
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));
CREATE INDEX users_owner_id_idx ON users (owner_id) WHERE owner_id IS NOT NULL;

-- Accounts that are erased: their traces in sessions are removed bit by bit, and a daemon that was
-- stopped half-way goes on at its next start. `family_ids` are the logins whose access tokens may
-- still be alive.
CREATE TABLE erasures (
    user_id uuid PRIMARY KEY REFERENCES users,
    deletes_messages boolean NOT NULL,
    family_ids uuid[] NOT NULL,
    begun_at timestamptz NOT NULL,
    finished_at timestamptz
);

CREATE INDEX erasures_begun_at_idx ON erasures (begun_at);

-- Links that were mailed, of which only hashes are stored: each is used once, and a newer one of a
-- purpose ends the older.
CREATE TABLE mail_tokens (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('VERIFY', 'CHANGE', 'RESET')),
    token_hash bytea NOT NULL UNIQUE,
    email text NOT NULL,  -- to which it was sent
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, purpose)
);

CREATE TABLE devices (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    address text NOT NULL,
    created_at timestamptz NOT NULL,
    last_login_at timestamptz NOT NULL
);

CREATE INDEX devices_user_id_idx ON devices (user_id);

-- A family is one login of one device: all refresh tokens that descend from it.
CREATE TABLE refresh_families (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    device_id uuid NOT NULL REFERENCES devices ON DELETE CASCADE,
    opened_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE INDEX refresh_families_user_id_idx ON refresh_families (user_id) WHERE revoked_at IS NULL;
CREATE INDEX refresh_families_device_id_idx ON refresh_families (device_id);
CREATE INDEX refresh_families_revoked_at_idx ON refresh_families (revoked_at);

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    family_id uuid NOT NULL REFERENCES refresh_families ON DELETE CASCADE,
    parent_hash bytea UNIQUE REFERENCES refresh_tokens ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE INDEX refresh_tokens_family_id_idx ON refresh_tokens (family_id);

-- Who somebody is for an issuer: a subject is never given to another person, an address may be.
CREATE TABLE identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);

CREATE INDEX identities_user_id_idx ON identities (user_id);

-- Sign-ins under way, each taken once, by the browser that began it; only hashes are stored.
CREATE TABLE sign_ins (
    secret_hash bytea PRIMARY KEY,  -- of the `state`, later of the one-time code
    browser_hash bytea NOT NULL,
    user_id uuid REFERENCES users ON DELETE CASCADE,  -- whom the code logs in; NULL: a `state`
    next_path text NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX sign_ins_user_id_idx ON sign_ins (user_id);
CREATE INDEX sign_ins_expires_at_idx ON sign_ins (expires_at);

-- The second factor of accounts: a secret shared with an authenticator (RFC 6238).
CREATE TABLE second_factors (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    secret bytea NOT NULL,  -- sealed by the daemon for this user
    key_id text NOT NULL,  -- of the signing key under which it is sealed
    confirmed_at timestamptz,  -- NULL: being set up, a login does not ask for it
    last_step bigint NOT NULL DEFAULT 0  -- of the last code that was good: it and older ones are not
);

-- Each is good once: then it is deleted.
CREATE TABLE recovery_codes (
    user_id uuid NOT NULL REFERENCES second_factors ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

-- Logins whose password was right and that wait for the second factor.
CREATE TABLE login_challenges (
    challenge_hash bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    device_id uuid,  -- that the caller has proved to know
    password_mark bytea NOT NULL,  -- a hash of the password's hash: another password, another mark
    tries integer NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL
);

CREATE INDEX login_challenges_user_id_idx ON login_challenges (user_id);
CREATE INDEX login_challenges_expires_at_idx ON login_challenges (expires_at);

-- API tokens: only hashes are stored. A revoked one is deleted.
CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL CHECK (name <> ''),
    token_hash bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz  -- to the minute
);

CREATE INDEX api_tokens_user_id_idx ON api_tokens (user_id);

-- Sessions and their members

-- What a value may be, of columns that are written with each message. A CHECK of the table would be
-- read, planned and compiled anew by each statement: 23 were a fifth of what storing a message takes.
-- A domain's is kept ready, and asked for what is set.
CREATE DOMAIN counter AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN small_counter AS integer CHECK (VALUE >= 0);
CREATE DOMAIN ordinal_number AS bigint CHECK (VALUE > 0);
CREATE DOMAIN version_number AS integer CHECK (VALUE > 0);
CREATE DOMAIN session_kind AS text CHECK (VALUE IN ('DIRECT', 'GROUP', 'PUBLIC'));
CREATE DOMAIN slow_mode AS integer CHECK (VALUE BETWEEN 0 AND 120);  -- seconds
CREATE DOMAIN member_role AS text CHECK (VALUE IN ('OWNER', 'ADMIN', 'MEMBER', 'READ_ONLY'));
CREATE DOMAIN leaving_reason AS text CHECK (VALUE IN ('left', 'removed', 'banned'));
CREATE DOMAIN client_key AS text CHECK (char_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN message_content AS text CHECK (
    char_length(VALUE) <= 16384
    OR starts_with(VALUE, E'\x01') AND char_length(VALUE) <= 90000  -- sealed: chatd/keyring.py
);

-- What a CHECK of two columns would ask, asked only where one of them is set: see the domains. An
-- insert into messages pins nothing.
CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'row of % violates %', TG_TABLE_NAME, TG_NAME USING ERRCODE = 'check_violation';
END
$$;

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    kind session_kind NOT NULL,
    name text,
    direct_key text,  -- of DIRECT ones
    created_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    active_at timestamptz NOT NULL,  -- created_at of the last message, or else of the session
    seq bigint NOT NULL DEFAULT 0,
    changed_seq counter NOT NULL DEFAULT 0,
    message_count counter NOT NULL DEFAULT 0,
    member_count counter NOT NULL DEFAULT 0,
    is_read_only boolean NOT NULL DEFAULT false,  -- only OWNER and ADMIN write
    archived_at timestamptz,  -- nobody writes
    slow_mode_seconds slow_mode NOT NULL DEFAULT 0,
    -- The highest ordinal of a deleted message: who has read beyond it has nothing to look up.
    last_deleted_ordinal counter NOT NULL DEFAULT 0,
    deleted_at timestamptz,  -- without members from then on; a sweep takes the rest
    CONSTRAINT sessions_order CHECK (changed_seq <= seq AND message_count <= seq)
) WITH (fillfactor = 80);  -- each message updates the row: room for it on the same page

CREATE UNIQUE INDEX sessions_direct_key_key ON sessions (direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX sessions_deleted_at_idx ON sessions (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TRIGGER sessions_direct_key BEFORE INSERT OR UPDATE OF kind, direct_key ON sessions
    FOR EACH ROW WHEN ((NEW.direct_key IS NOT NULL) <> (NEW.kind = 'DIRECT'))
    EXECUTE FUNCTION refuse_row();

-- Who left keeps the row, as a trace with left_at. What is unread: unread_of(), below.
CREATE TABLE session_users (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users,
    role member_role NOT NULL,
    joined_at timestamptz NOT NULL,
    left_at timestamptz,
    last_read_seq counter NOT NULL DEFAULT 0,
    last_read_ordinal counter NOT NULL DEFAULT 0,
    mention_count small_counter NOT NULL DEFAULT 0,
    muted boolean NOT NULL DEFAULT false,
    changed_seq counter NOT NULL DEFAULT 0,
    muted_until timestamptz,  -- may not write before; `muted` is the user's own wish
    last_sent_at timestamptz,  -- for slow mode
    -- Sending moves the sender's marker, so nobody has own messages above it, but who has set it
    -- back. The two behind `set_back_ordinal` count for as long as the marker stands there.
    set_back_ordinal bigint,
    own_above small_counter NOT NULL DEFAULT 0,
    marked_unread boolean NOT NULL DEFAULT false,
    favourite boolean NOT NULL DEFAULT false,  -- the user's own wish, as `muted`
    joined_seq counter NOT NULL DEFAULT 0,  -- changed_seq of the last join
    left_reason leaving_reason,
    PRIMARY KEY (session_id, user_id)
) WITH (fillfactor = 80);  -- markers move with each message

CREATE INDEX session_users_user_id_idx ON session_users (user_id, session_id);
CREATE INDEX session_users_changed_seq_idx ON session_users (session_id, changed_seq);

-- One that has ended stays until the next one or the end of the session; it bans nobody.
CREATE TABLE session_bans (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    banned_by uuid NOT NULL,  -- no reference: the ban outlives the account
    banned_at timestamptz NOT NULL,
    banned_until timestamptz,  -- NULL: until it is lifted
    reason text,
    PRIMARY KEY (session_id, user_id)
);

CREATE INDEX session_bans_user_id_idx ON session_bans (user_id);

-- Who knows the code may come in. Revoked ones are deleted, so are dead ones when one is made.
CREATE TABLE session_invites (
    code text PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_by uuid NOT NULL,  -- no reference: the invite outlives the account
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    role text NOT NULL CHECK (role IN ('MEMBER', 'READ_ONLY')),
    max_uses integer CHECK (max_uses > 0),
    uses integer NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND coalesce(max_uses, uses))
);

CREATE INDEX session_invites_session_id_idx ON session_invites (session_id, created_at);

-- Messages. `ordinal` counts the messages of a session, `seq` all its changes.
CREATE TABLE messages (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL,
    seq ordinal_number NOT NULL,
    changed_seq bigint NOT NULL,
    ordinal ordinal_number NOT NULL,
    sender_id uuid NOT NULL,
    client_msg_id client_key,
    content message_content NOT NULL,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted_at timestamptz,
    reply_to_id uuid REFERENCES messages ON DELETE SET NULL,
    version version_number NOT NULL DEFAULT 1,  -- counts the texts it has had
    deleted_by uuid,  -- no reference: the trace outlives the account
    reaction_count small_counter NOT NULL DEFAULT 0,  -- spares a look-up
    reply_excerpt text,  -- what the answered message said then; NULL when it is deleted
    mentions uuid[],  -- NULL is nobody, {} everybody
    pinned_at timestamptz,
    pinned_by uuid,  -- no reference, as above
    -- What is attached, as it never changes: [[id, name, size, type, width, height, has thumbnail],
    -- ...]; NULL is nothing. Read with the message: no look at files for a page of history.
    attachments jsonb,
    CONSTRAINT messages_seq_key UNIQUE (session_id, seq),
    CONSTRAINT messages_order CHECK (changed_seq >= seq AND ordinal <= seq),
    -- To the membership, not to users and sessions: one check a row instead of two, and of a row
    -- that the append updates anyway, so no lock of a user's row is written for each message.
    FOREIGN KEY (session_id, sender_id) REFERENCES session_users ON DELETE CASCADE
);

CREATE INDEX messages_changed_seq_idx ON messages (session_id, changed_seq);
CREATE UNIQUE INDEX messages_client_msg_id_key ON messages (sender_id, client_msg_id)
    WHERE client_msg_id IS NOT NULL;
CREATE INDEX messages_reply_to_id_idx ON messages (reply_to_id) WHERE reply_to_id IS NOT NULL;
CREATE INDEX messages_deleted_idx ON messages (session_id, ordinal) WHERE deleted_at IS NOT NULL;

CREATE INDEX messages_pinned_at_idx ON messages (session_id, pinned_at) WHERE pinned_at IS NOT NULL;

CREATE TRIGGER messages_pinned BEFORE UPDATE OF pinned_at, pinned_by ON messages
    FOR EACH ROW WHEN ((NEW.pinned_at IS NULL) <> (NEW.pinned_by IS NULL))
    EXECUTE FUNCTION refuse_row();

-- The texts before the current one; `created_at` is when each was written.
CREATE TABLE message_revisions (
    message_id uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    version integer NOT NULL CHECK (version > 0),
    content text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, version)
);

-- One reaction of one member; `seq` is the one it took. Emoji are ordered by code point.
CREATE TABLE reactions (
    message_id uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    emoji text COLLATE "C" NOT NULL CHECK (octet_length(emoji) BETWEEN 1 AND 32),
    user_id uuid NOT NULL REFERENCES users,
    seq bigint NOT NULL CHECK (seq > 0),
    PRIMARY KEY (message_id, emoji, user_id)
);

-- All reactions to a message: [[emoji, count, [user ids, the first 20 to react]], ...].
CREATE FUNCTION reactions_of(message uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(jsonb_build_array(emoji, number, user_ids) ORDER BY emoji)
    FROM (
        SELECT emoji, count(*) AS number, (array_agg(user_id ORDER BY seq))[1:20] AS user_ids
        FROM reactions
        WHERE message_id = message
        GROUP BY emoji
    ) each
$$;

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
CREATE FUNCTION reply_of(parent uuid, excerpt text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(
        m.id, m.seq, u.id, u.name, u.avatar_url,
        CASE WHEN starts_with(excerpt, E'\x01m') THEN quoted_text(m, excerpt) ELSE excerpt END
    )
    FROM messages m
    JOIN users u ON u.id = m.sender_id
    WHERE m.id = parent
$$;

-- Whom a message mentions, but its sender: one row a member, "everybody" as of then. mention_count
-- of a member is the number of these above last_read_ordinal; a deleted message has none.
CREATE TABLE mentions (
    message_id uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    PRIMARY KEY (message_id, user_id)
);

CREATE INDEX mentions_unread_idx ON mentions (session_id, user_id, ordinal);

-- Those of a JSON array of ids who are members, in its order; {} for a string, "ALL".
CREATE FUNCTION mentionable(session uuid, wanted jsonb) RETURNS uuid[] LANGUAGE sql STABLE AS $$
    SELECT CASE jsonb_typeof(wanted)
        WHEN 'string' THEN '{}'::uuid[]
        WHEN 'array' THEN (
            SELECT array_agg(m.user_id ORDER BY w.nth)
            FROM jsonb_array_elements_text(wanted) WITH ORDINALITY AS w (id, nth)
            JOIN session_users m
                ON m.session_id = session AND m.user_id = w.id::uuid AND m.left_at IS NULL
        )
    END
$$;

-- Deleted messages of others above a marker.
CREATE FUNCTION deleted_above(session uuid, reader uuid, marker bigint)
RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM messages
    WHERE session_id = session AND ordinal > marker AND deleted_at IS NOT NULL
      AND sender_id <> reader
$$;

-- How many messages a member has not read. PostgreSQL puts the expression in place of the call.
CREATE FUNCTION unread_of(s sessions, m session_users) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT s.message_count - m.last_read_ordinal
        - CASE WHEN m.set_back_ordinal = m.last_read_ordinal THEN m.own_above ELSE 0 END
        - CASE WHEN s.last_deleted_ordinal > m.last_read_ordinal
               THEN deleted_above(m.session_id, m.user_id, m.last_read_ordinal) ELSE 0 END
$$;

-- Moves a member's marker, forward to `wanted` or back to before it; see Store.mark_read.
--
-- The member's row is locked first, and what is counted is read after: an append that names this
-- member has raised their mention_count under the same lock, and its mention is seen.
CREATE FUNCTION move_marker(session uuid, reader uuid, wanted bigint, sets_back boolean)
RETURNS TABLE (
    session_id uuid, seq bigint, unread_count bigint, mention_count integer, last_read_seq bigint,
    member_count bigint, is_moved boolean, is_changed boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    was session_users;
    mine session_users;
    was_marked boolean;
    was_own_above integer;
BEGIN
    SELECT * INTO was FROM session_users
    WHERE session_id = session AND user_id = reader AND left_at IS NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    was_marked := was.marked_unread AND was.set_back_ordinal = was.last_read_ordinal;
    was_own_above := CASE
        WHEN was.set_back_ordinal = was.last_read_ordinal THEN was.own_above ELSE 0
    END;
    mine := was;
    SELECT CASE WHEN sets_back THEN greatest(least(was.last_read_seq, wanted - 1), 0)
                ELSE greatest(was.last_read_seq, least(wanted, seq)) END
    INTO mine.last_read_seq FROM sessions WHERE id = session;
    IF mine.last_read_seq <> was.last_read_seq THEN
        mine.last_read_ordinal := coalesce((
            SELECT ordinal FROM messages
            WHERE session_id = session AND seq <= mine.last_read_seq
            ORDER BY seq DESC LIMIT 1
        ), 0);
    END IF;
    mine.marked_unread := sets_back;
    mine.own_above := 0;
    IF sets_back OR was_own_above > 0 THEN
        mine.own_above := (
            SELECT count(*) FROM messages
            WHERE session_id = session AND seq > mine.last_read_seq AND sender_id = reader
        );
    END IF;
    mine.set_back_ordinal := CASE
        WHEN sets_back OR mine.own_above > 0 THEN mine.last_read_ordinal
    END;
    mine.mention_count := (
        SELECT count(*) FROM mentions
        WHERE user_id = reader AND session_id = session AND ordinal > mine.last_read_ordinal
    );
    IF mine IS DISTINCT FROM was THEN
        UPDATE session_users
        SET last_read_seq = mine.last_read_seq, last_read_ordinal = mine.last_read_ordinal,
            set_back_ordinal = mine.set_back_ordinal, own_above = mine.own_above,
            marked_unread = mine.marked_unread, mention_count = mine.mention_count
        WHERE session_id = session AND user_id = reader;
    END IF;
    RETURN QUERY
    SELECT s.id, s.seq, unread_of(s, m), m.mention_count::integer, m.last_read_seq::bigint,
           s.member_count::bigint,
           m.last_read_seq <> was.last_read_seq,
           m.last_read_seq <> was.last_read_seq OR was_marked <> sets_back
    FROM sessions s
    JOIN session_users m ON m.session_id = s.id AND m.user_id = reader
    WHERE s.id = session;
END
$$;

-- What Socket.IO clients need to be recovered after a restart of the daemon: written at the stop,
-- taken once when the client comes back, deleted when it comes too late. `state` is the daemon's
-- own JSON: nothing in SQL looks inside.
CREATE TABLE socket_recoveries (
    pid text PRIMARY KEY,  -- the private id of the connection: only its client knows it
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    state bytea NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Not compressed: it lives for minutes, and 5,000 states of 10 KiB are written in 0.5 s, not 1.5.
ALTER TABLE socket_recoveries ALTER COLUMN state SET STORAGE EXTERNAL;

CREATE INDEX socket_recoveries_user_id_idx ON socket_recoveries (user_id);
CREATE INDEX socket_recoveries_expires_at_idx ON socket_recoveries (expires_at);

-- Search within what its caller may read. The index is filled behind the message path, by
-- search_index(): nothing is written for it when a message is stored. What has changed since is read
-- by its changed_seq, so a search sees every message as it is.

-- Lower case by whatever knows all of Unicode: which collation that is differs between servers.
-- Without one the database's own does what it can.
DO $do$
DECLARE
    name text := coalesce(
        (
            SELECT 'pg_catalog.' || quote_ident(collname) FROM pg_collation
            WHERE collname IN ('pg_c_utf8', 'und-x-icu')
                AND collnamespace = 'pg_catalog'::regnamespace
            ORDER BY collname LIMIT 1
        ),
        '"default"'
    );
BEGIN
    EXECUTE 'CREATE FUNCTION search_lower(content text) RETURNS text'
        || ' LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN lower(content COLLATE ' || name || ')';
END
$do$;

-- Text as it is compared: without case, accents and the widths of letters; of a sealed text nothing.
CREATE FUNCTION search_text(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN starts_with(content, E'\x01') THEN ''
        WHEN octet_length(content) = char_length(content) THEN lower(content COLLATE "C")
        ELSE translate(normalize(
            search_lower(regexp_replace(normalize(content, NFKD), '[\u0300-\u036f]', '', 'g')), NFC
        ), 'ςøłđı', 'σoldi') COLLATE "C"
    END
$$;

-- The parts by which a text is found: of each word all threes of letters, and all ones and twos where
-- it has letters of U+2E80 and above (Chinese, Japanese, Korean, emoji: written without spaces, and
-- two are a word). A loop: half the time of one statement. Not distinct: the index sees to it.
CREATE FUNCTION search_grams(content text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    is_ascii boolean := octet_length(content) = char_length(content);
    word text;
    piece text;
    grams text[];
BEGIN
    FOREACH word IN ARRAY string_to_array(translate(content, E'\t\n', '  '), ' ') LOOP
        IF is_ascii AND octet_length(word) <= 66 THEN  -- almost all: each step here costs as a gram
            FOR place IN 1 .. octet_length(word) - 2 LOOP
                grams := grams || substr(word, place, 3);
            END LOOP;
            CONTINUE;
        END IF;
        WHILE word <> '' LOOP
            piece := left(word, 66);  -- pieces overlap by two: substr() counts from the start
            word := substr(word, 65);
            FOR place IN 1 .. char_length(piece) - 2 LOOP
                grams := grams || substr(piece, place, 3);
            END LOOP;
            IF octet_length(piece) > char_length(piece) AND piece ~ '[\u2e80-\U0010ffff]' THEN
                FOR place IN 1 .. char_length(piece) LOOP
                    grams := grams || substr(piece, place, 1) || substr(piece, place, 2);
                END LOOP;
            END IF;
            EXIT WHEN char_length(piece) < 66;
        END LOOP;
    END LOOP;
    RETURN grams;
END
$$;

-- What search_index() has reached in a session: its messages up to this changed_seq.
CREATE TABLE search_positions (
    session_id uuid PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    seq bigint NOT NULL
) WITH (fillfactor = 50);  -- written again with each pass over a busy session

-- No reference to messages: checking it would lock, hence write, the row of each message.
CREATE TABLE search_entries (
    message_id uuid PRIMARY KEY,
    session_id uuid NOT NULL,
    sender_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    body text COLLATE "C" NOT NULL  -- search_text(content)
);

CREATE INDEX search_entries_place_idx ON search_entries (session_id, created_at, message_id);
-- The pending list makes an entry two to five times as cheap; every search reads it, so it is short.
CREATE INDEX search_entries_grams_idx ON search_entries USING gin (search_grams(body))
    WITH (gin_pending_list_limit = 512);

-- Of messages that are gone nothing may be left. Takes turns with search_index(): after it has
-- ended its entries are seen here, and as long as this is open it does not begin.
CREATE FUNCTION forget_search_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1667785592);
    DELETE FROM search_entries e USING gone WHERE e.message_id = gone.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER forget_search_entries AFTER DELETE ON messages
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_search_entries();

-- Takes at most `batch` changed messages into the index, and some 256 KiB of text: what a message costs
-- here is by its length. Returns how many sessions and messages it has dealt with, at least `batch`
-- when there may be more, 0 when nothing is left or another node is at it.
CREATE FUNCTION search_index(batch integer) RETURNS integer LANGUAGE plpgsql
SET enable_seqscan = on SET enable_hashjoin = on AS $$
DECLARE
    place record;
    near_count integer;
    taken integer;
    reach bigint;
    bytes bigint;
    done integer := 0;
    room bigint := 262144;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1667785592) THEN
        RETURN 0;
    END IF;
    -- To the end of the transaction, which is to be this call alone. What a crash takes of the index
    -- it takes of the positions too.
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR place IN
        SELECT s.id, s.seq AS head, coalesce(p.seq, 0) AS seq
        FROM sessions s LEFT JOIN search_positions p ON p.session_id = s.id
        WHERE s.seq > coalesce(p.seq, 0)
        LIMIT batch
    LOOP
        WITH near AS MATERIALIZED (
            SELECT *, sum(octet_length(content)) OVER (
                ORDER BY changed_seq ROWS UNBOUNDED PRECEDING
            ) AS upto
            FROM messages
            WHERE session_id = place.id AND changed_seq > place.seq AND changed_seq <= place.head
            ORDER BY changed_seq LIMIT batch
        ), changed AS MATERIALIZED (
            SELECT * FROM near WHERE upto - octet_length(content) < room  -- so one at least
        ), removed AS (
            -- Not joined: where the table was empty when it was analyzed, it is read for each message.
            DELETE FROM search_entries
            WHERE message_id = ANY (ARRAY(SELECT id FROM changed WHERE deleted_at IS NOT NULL))
        ), kept AS (
            INSERT INTO search_entries AS e (message_id, session_id, sender_id, created_at, body)
            SELECT id, session_id, sender_id, created_at, search_text(content)
            FROM changed WHERE deleted_at IS NULL
            ON CONFLICT (message_id) DO UPDATE SET body = excluded.body
            WHERE e.body <> excluded.body
        )
        SELECT (SELECT count(*) FROM near), count(*), max(changed_seq), coalesce(max(upto), 0)
        INTO near_count, taken, reach, bytes FROM changed;
        reach := CASE WHEN taken = near_count AND taken < batch THEN place.head ELSE reach END;
        UPDATE search_positions SET seq = reach WHERE session_id = place.id;
        IF NOT FOUND THEN
            INSERT INTO search_positions (session_id, seq)
            SELECT id, reach FROM sessions WHERE id = place.id FOR KEY SHARE;
        END IF;
        done := done + 1 + taken;
        room := room - bytes;
        IF done >= batch OR room <= 0 THEN
            RETURN greatest(done, batch);
        END IF;
    END LOOP;
    RETURN done;
END
$$;

-- Entries that hold all grams and fit all patterns, in any order: by the GIN index, whatever the
-- planner thinks of it.
CREATE FUNCTION search_by_grams(
    grams text[], patterns text[], session_ids uuid[], author uuid, since timestamptz,
    upper_at timestamptz, upper_id uuid
) RETURNS TABLE (message_id uuid, session_id uuid, created_at timestamptz) LANGUAGE plpgsql STABLE
SET enable_bitmapscan = on SET enable_indexscan = off SET enable_indexonlyscan = off
SET work_mem = '16MB' AS $$
BEGIN
    RETURN QUERY
    SELECT e.message_id, e.session_id, e.created_at
    FROM search_entries e
    WHERE search_grams(e.body) @> grams AND e.session_id = ANY (session_ids)
        AND (author IS NULL OR e.sender_id = author) AND e.created_at >= since
        AND (e.created_at, e.message_id) < (upper_at, upper_id) AND e.body LIKE ALL (patterns);
END
$$;

-- Finds messages that the reader may read now and that hold all words of the query, newest first,
-- from `since` on and below (upper_at, upper_id). What is frequent is found among the newest entries:
-- they are read back in time, in windows that grow, until there are enough hits or `budget` entries
-- have been read; the rest is left to the index. Words without grams (two letters) have no index:
-- for them all entries of the reader are read.
CREATE FUNCTION search_messages(
    reader uuid, query text, within uuid, author uuid, since timestamptz,
    upper_at timestamptz, upper_id uuid, number integer, budget integer
) RETURNS TABLE (message_id uuid, created_at timestamptz) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    words text[] := ARRAY(
        SELECT DISTINCT word
        FROM unnest(string_to_array(search_text(query), ' ')) AS w (word) WHERE word <> ''
    );
    patterns text[] := ARRAY(
        SELECT '%' || regexp_replace(word, '([\\%_])', '\\\1', 'g') || '%'
        FROM unnest(words) AS w (word)
    );
    grams text[] := search_grams(array_to_string(words, ' '));
    mine uuid[];
    seqs bigint[];
    ids uuid[];
    times timestamptz[];
    more_ids uuid[];
    more_times timestamptz[];
    high_at timestamptz := upper_at;
    high_id uuid := upper_id;
    low_at timestamptz;
    newest timestamptz;
    oldest timestamptz;
    width interval := interval '1 minute';
    entries integer;
BEGIN
    IF cardinality(words) = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(m.session_id), array_agg(coalesce(p.seq, 0)) INTO mine, seqs
    FROM session_users m LEFT JOIN search_positions p ON p.session_id = m.session_id
    WHERE m.user_id = reader AND m.left_at IS NULL AND (within IS NULL OR m.session_id = within);

    SELECT coalesce(array_agg(m.id), '{}'), coalesce(array_agg(m.created_at), '{}')
    INTO ids, times
    FROM unnest(mine, seqs) AS s (id, seq)
    JOIN LATERAL (
        SELECT * FROM messages m WHERE m.session_id = s.id AND m.changed_seq > s.seq OFFSET 0
    ) m ON true
    WHERE m.deleted_at IS NULL AND (author IS NULL OR m.sender_id = author)
        AND m.created_at >= since AND (m.created_at, m.id) < (upper_at, upper_id)
        AND search_text(m.content) LIKE ALL (patterns);

    SELECT max(last.created_at), min(first.created_at) INTO newest, oldest
    FROM unnest(mine) AS s (id)
    JOIN LATERAL (
        SELECT e.created_at FROM search_entries e
        WHERE e.session_id = s.id AND (e.created_at, e.message_id) < (upper_at, upper_id)
        ORDER BY e.created_at DESC, e.message_id DESC LIMIT 1
    ) last ON true
    JOIN LATERAL (
        SELECT e.created_at FROM search_entries e
        WHERE e.session_id = s.id AND e.created_at >= since
        ORDER BY e.created_at, e.message_id LIMIT 1
    ) first ON true;

    IF grams IS NULL THEN
        budget := 2147483646;
    END IF;
    low_at := newest;
    -- Hits above high_at are complete: what is not indexed yet may be of any age.
    WHILE high_at > oldest
        AND (SELECT count(*) FROM unnest(times) AS t (at) WHERE t.at >= high_at) < number
    LOOP
        low_at := greatest(low_at - width, oldest);
        width := width * 4;
        SELECT count(*),
            array_agg(e.message_id) FILTER (WHERE e.fits AND EXISTS (
                SELECT FROM messages m WHERE m.id = e.message_id AND m.changed_seq <= e.seq
            )),
            array_agg(e.created_at) FILTER (WHERE e.fits AND EXISTS (
                SELECT FROM messages m WHERE m.id = e.message_id AND m.changed_seq <= e.seq
            ))
        INTO entries, more_ids, more_times
        FROM (
            SELECT e.message_id, e.created_at, s.seq,
                (author IS NULL OR e.sender_id = author) AND e.body LIKE ALL (patterns) AS fits
            FROM unnest(mine, seqs) AS s (id, seq)
            JOIN LATERAL (
                SELECT * FROM search_entries e
                WHERE e.session_id = s.id AND e.created_at >= low_at
                    AND (e.created_at, e.message_id) < (high_at, high_id)
                OFFSET 0  -- not to be turned round: by session, then by time
            ) e ON true
            LIMIT budget + 1
        ) e;
        IF entries > budget THEN
            SELECT array_agg(hit.message_id), array_agg(hit.created_at)
            INTO more_ids, more_times
            FROM (
                SELECT h.message_id, h.created_at
                FROM search_by_grams(
                    grams, patterns, mine, author, since, high_at, high_id
                ) h
                JOIN unnest(mine, seqs) AS s (id, seq) ON s.id = h.session_id
                JOIN messages m ON m.id = h.message_id AND m.changed_seq <= s.seq
                ORDER BY h.created_at DESC, h.message_id DESC
                LIMIT number
            ) hit;
            low_at := oldest;
        END IF;
        ids := ids || more_ids;
        times := times || more_times;
        budget := budget - entries;
        high_at := low_at;
        high_id := '00000000-0000-0000-0000-000000000000';
    END LOOP;

    RETURN QUERY
    SELECT hit.id, hit.at FROM unnest(ids, times) AS hit (id, at)
    ORDER BY hit.at DESC, hit.id DESC LIMIT number;
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

-- Files: attached to messages, and as avatars.
--
-- A row is there before its bytes and goes after them: a crash in between leaves no bytes for ever.
CREATE TABLE files (
    id uuid PRIMARY KEY,
    key text NOT NULL UNIQUE CHECK (key ~ '^[0-9a-f]{32}$'),  -- of the bytes in their store: random
    uploader_id uuid NOT NULL REFERENCES users,
    session_id uuid,  -- NULL: to become an avatar. No reference: the row outlives the session
    name text NOT NULL CHECK (name <> ''),
    size bigint NOT NULL CHECK (size > 0),
    mime_type text NOT NULL,  -- as it was declared
    created_at timestamptz NOT NULL,
    upload_until timestamptz NOT NULL,  -- no upload begins later
    completed_at timestamptz,  -- the bytes are there, looked at, and nobody writes them any more
    served_type text,  -- what the bytes are; NULL: not known, or nothing to be shown
    width integer CHECK (width > 0),
    height integer CHECK ((width IS NULL) = (height IS NULL)),
    has_thumbnail boolean NOT NULL DEFAULT false,
    message_id uuid CHECK (message_id IS NULL OR completed_at IS NOT NULL),
    is_avatar boolean NOT NULL DEFAULT false,
    loose_since timestamptz NOT NULL,  -- attached to nothing since then, unless it is
    revoked_at timestamptz,  -- given to nobody any more; a sweep takes bytes and row
    sweep_at timestamptz  -- when the sweep looks at it next
);

CREATE INDEX files_uploader_id_idx ON files (uploader_id, id);
CREATE INDEX files_session_id_idx ON files (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX files_message_id_idx ON files (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX files_sweep_at_idx ON files (sweep_at) WHERE sweep_at IS NOT NULL;
CREATE INDEX files_loose_since_idx ON files (loose_since)
    WHERE message_id IS NULL AND NOT is_avatar AND revoked_at IS NULL;

-- A tombstone has no files. A trigger, so that no way of deleting can forget it.
CREATE FUNCTION revoke_attachments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE files SET revoked_at = new.deleted_at, sweep_at = new.deleted_at
    WHERE message_id = new.id AND revoked_at IS NULL;
    new.attachments := NULL;
    RETURN new;
END
$$;

CREATE TRIGGER messages_revoke_attachments BEFORE UPDATE OF deleted_at ON messages
    FOR EACH ROW
    WHEN (new.deleted_at IS NOT NULL AND old.attachments IS NOT NULL)
    EXECUTE FUNCTION revoke_attachments();

-- Its members went when it was deleted, so nobody reads its files; now nobody pays for them.
CREATE FUNCTION revoke_session_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE files SET revoked_at = old.deleted_at, sweep_at = old.deleted_at
    WHERE session_id = old.id AND revoked_at IS NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_revoke_files AFTER DELETE ON sessions
    FOR EACH ROW
    WHEN (old.deleted_at IS NOT NULL)
    EXECUTE FUNCTION revoke_session_files();

-- A picture that is nobody's avatar any more becomes loose, and the sweep finds it.
CREATE FUNCTION forget_avatar() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE files SET is_avatar = false
    WHERE id = substr(old.avatar_url, 10)::uuid AND new.avatar_url IS DISTINCT FROM old.avatar_url;
    RETURN NULL;
END
$$;

CREATE TRIGGER users_forget_avatar AFTER UPDATE OF avatar_url ON users
    FOR EACH ROW
    WHEN (old.avatar_url LIKE '/avatars/%')
    EXECUTE FUNCTION forget_avatar();

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    action text NOT NULL,
    user_id uuid,  -- no reference: the trace outlives the account
    details jsonb NOT NULL DEFAULT '{}',
    address text,  -- from where; nothing of an account that is gone
    session_id uuid,  -- no reference, as user_id: the trace outlives the session
    target_id uuid,  -- to whom it was done
    salt uuid DEFAULT gen_random_uuid()  -- of address and details in the chain; NULL: erased
);

CREATE INDEX audit_log_user_id_idx ON audit_log (user_id, id);
CREATE INDEX audit_log_session_id_idx ON audit_log (session_id, id) WHERE session_id IS NOT NULL;

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

-- Another's message was deleted. A trigger, so that no way of deleting can forget it.
CREATE FUNCTION audit_deleted_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_log (at, action, user_id, session_id, target_id, details)
    VALUES (new.deleted_at, 'message_deleted', new.deleted_by, new.session_id, new.sender_id,
            jsonb_build_object('messageId', new.id));
    RETURN NULL;
END
$$;

CREATE TRIGGER messages_audit_deleted AFTER UPDATE OF deleted_at ON messages
    FOR EACH ROW
    WHEN (old.deleted_at IS NULL AND new.deleted_at IS NOT NULL AND new.deleted_by <> new.sender_id)
    EXECUTE FUNCTION audit_deleted_message();

-- Stores a batch of messages, one array a column, and returns one row a message.
--
-- A function, because in a volatile one each statement sees what was committed before it: the
-- second reads after the locks of the first are held, in one round trip. Everything is judged
-- against the state before the batch. A duplicate comes back as it is stored; of a stored message
-- only what the caller does not know already. `mentioned` is NULL where nobody is: {place: ids or
-- "ALL"}; whom a stored message newly mentions comes behind, as rows `told` with the id in found_id.
CREATE FUNCTION append_messages(
    ids uuid[], session_ids uuid[], sender_ids uuid[], contents text[],
    times timestamptz[], client_msg_ids text[], reply_to_ids uuid[],
    mentioned jsonb DEFAULT NULL
) RETURNS TABLE (
    place bigint, outcome text, message_seq bigint, sender_name text, sender_avatar_url text,
    found_id uuid, found_session_id uuid, found_changed_seq bigint, found_content text,
    found_created_at timestamptz, reply jsonb, found_mentions uuid[], until timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    is_slow boolean;
BEGIN
    SELECT bool_or(locked.is_slow) INTO is_slow FROM (
        SELECT slow_mode_seconds > 0 AS is_slow FROM sessions
        WHERE id = ANY (session_ids) ORDER BY id FOR NO KEY UPDATE
    ) locked;
    -- In slow mode the second message of a sender is judged by what became of the first.
    IF is_slow AND EXISTS (
        SELECT FROM unnest(session_ids, sender_ids) AS b (session_id, sender_id)
        JOIN sessions s ON s.id = b.session_id AND s.slow_mode_seconds > 0
        GROUP BY b.session_id, b.sender_id HAVING count(*) > 1
    ) THEN
        FOR i IN 1 .. cardinality(ids) LOOP
            RETURN QUERY
            SELECT i::bigint, a.outcome, a.message_seq, a.sender_name, a.sender_avatar_url,
                   a.found_id, a.found_session_id, a.found_changed_seq, a.found_content,
                   a.found_created_at, a.reply, a.found_mentions, a.until
            FROM append_messages(
                ids[i:i], session_ids[i:i], sender_ids[i:i], contents[i:i], times[i:i],
                client_msg_ids[i:i], reply_to_ids[i:i],
                CASE WHEN mentioned ? i::text
                    THEN jsonb_build_object('1', mentioned -> i::text) END
            ) a;
        END LOOP;
        RETURN;
    END IF;
    RETURN QUERY
    WITH judged AS (
        SELECT b.*, s.seq AS head, s.message_count, u.name, u.avatar_url,
               d.id AS d_id, d.session_id AS d_session_id, d.seq AS d_seq,
               d.changed_seq AS d_changed_seq, d.content AS d_content,
               d.created_at AS d_created_at, d.reply_to_id AS d_reply_to_id,
               d.reply_excerpt AS d_reply_excerpt, d.mentions AS d_mentions,
               CASE WHEN mentioned IS NOT NULL
                   THEN mentionable(b.session_id, mentioned -> b.nth::text) END AS mentions,
               CASE WHEN r.deleted_at IS NULL THEN left(r.content, 200) END AS excerpt,
               CASE WHEN s.slow_mode_seconds > 0 THEN
                   m.last_sent_at + make_interval(secs => s.slow_mode_seconds)
               END AS opens_at,
               CASE
                   WHEN d.id IS NOT NULL THEN 'duplicate'
                   WHEN m.user_id IS NULL THEN 'not_a_member'
                   WHEN m.role = 'READ_ONLY' OR s.archived_at IS NOT NULL
                       OR s.is_read_only AND m.role = 'MEMBER' THEN 'read_only'
                   WHEN m.muted_until > b.created_at THEN 'muted'
                   WHEN b.reply_to_id IS NOT NULL AND r.id IS NULL THEN 'no_such_reply'
                   WHEN s.member_count > 200 AND m.role = 'MEMBER'
                       AND jsonb_typeof(mentioned -> b.nth::text) = 'string' THEN 'too_many'
                   WHEN s.slow_mode_seconds > 0 AND m.role = 'MEMBER'
                       AND m.last_sent_at + make_interval(secs => s.slow_mode_seconds)
                           > b.created_at THEN 'slow_mode'
                   ELSE 'stored'
               END AS verdict
        FROM unnest(ids, session_ids, sender_ids, contents, times, client_msg_ids, reply_to_ids)
            WITH ORDINALITY AS b (
                id, session_id, sender_id, content, created_at, client_msg_id, reply_to_id, nth
            )
        LEFT JOIN messages d
            ON d.sender_id = b.sender_id AND d.client_msg_id = b.client_msg_id
        LEFT JOIN session_users m
            ON m.session_id = b.session_id AND m.user_id = b.sender_id AND m.left_at IS NULL
        LEFT JOIN sessions s ON s.id = b.session_id
        LEFT JOIN LATERAL (  -- by its id: nothing else, while there are no statistics, would do
            SELECT id, session_id, deleted_at, content FROM messages
            WHERE id = b.reply_to_id OFFSET 0
        ) r ON r.session_id = b.session_id
        LEFT JOIN users u ON u.id = b.sender_id
    ), numbered AS MATERIALIZED (
        SELECT *, row_number() OVER (PARTITION BY session_id, verdict ORDER BY nth) AS step
        FROM judged
    ), stored AS (
        INSERT INTO messages (
            id, session_id, seq, changed_seq, ordinal, sender_id, client_msg_id, content,
            created_at, reply_to_id, reply_excerpt, mentions
        )
        SELECT id, session_id, head + step, head + step, message_count + step, sender_id,
               client_msg_id, content, created_at, reply_to_id, excerpt, mentions
        FROM numbered WHERE verdict = 'stored'
    ), raised AS (
        UPDATE sessions s
        SET seq = last.seq, message_count = last.ordinal, active_at = last.created_at
        FROM (
            SELECT DISTINCT ON (session_id) session_id, head + step AS seq,
                   message_count + step AS ordinal, created_at
            FROM numbered WHERE verdict = 'stored' ORDER BY session_id, step DESC
        ) last
        WHERE s.id = last.session_id
    ), marked AS (
        UPDATE session_users m
        SET last_read_seq = last.seq, last_read_ordinal = last.ordinal,
            last_sent_at = greatest(m.last_sent_at, last.sent_at), mention_count = 0
        FROM (
            SELECT session_id, sender_id, max(head + step) AS seq,
                   max(message_count + step) AS ordinal, max(created_at) AS sent_at
            FROM numbered WHERE verdict = 'stored' GROUP BY session_id, sender_id
        ) last
        WHERE m.session_id = last.session_id AND m.user_id = last.sender_id
    )
    SELECT nth, verdict, coalesce(d_seq, head + step), name, avatar_url,
           d_id, d_session_id, d_changed_seq, d_content::text, d_created_at,
           CASE
               WHEN d_reply_to_id IS NOT NULL THEN reply_of(d_reply_to_id, d_reply_excerpt)
               WHEN reply_to_id IS NOT NULL AND verdict = 'stored'
                   THEN reply_of(reply_to_id, excerpt)
           END,
           CASE WHEN d_id IS NULL THEN mentions ELSE d_mentions END,
           CASE WHEN verdict = 'slow_mode' THEN opens_at END
    FROM numbered;
    IF mentioned IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH told AS (
        INSERT INTO mentions (message_id, user_id, session_id, ordinal)
        SELECT m.id, who.user_id, m.session_id, m.ordinal
        FROM messages m
        JOIN session_users who ON who.session_id = m.session_id AND who.left_at IS NULL
            AND who.user_id <> m.sender_id
            AND (m.mentions = '{}' OR who.user_id = ANY (m.mentions))
        WHERE m.id = ANY (ids)
        ON CONFLICT DO NOTHING
        RETURNING message_id, user_id, session_id, ordinal
    ), counted AS (
        UPDATE session_users m SET mention_count = m.mention_count + unread.number
        FROM (
            SELECT session_id, user_id, count(*) AS number
            FROM told JOIN session_users USING (session_id, user_id)
            WHERE ordinal > last_read_ordinal
            GROUP BY session_id, user_id
        ) unread
        WHERE m.session_id = unread.session_id AND m.user_id = unread.user_id
    )
    SELECT array_position(ids, message_id)::bigint, 'told', NULL::bigint, NULL, NULL, user_id,
           NULL::uuid, NULL::bigint, NULL, NULL::timestamptz, NULL::jsonb, NULL::uuid[],
           NULL::timestamptz
    FROM told ORDER BY user_id;
END
$$;

-- Stores one message as append_messages() does, when it mentions nobody.
--
-- Most batches are of one message. This takes two thirds of what the large statement takes for it,
-- which is made for many, and answers in its words, without what the caller does not need: of a
-- duplicate it reads all that there is.
CREATE FUNCTION append_message(
    new_id uuid, its_session uuid, its_sender uuid, its_content text,
    its_time timestamptz, its_key text, its_reply uuid
) RETURNS TABLE (
    outcome text, message_seq bigint, sender_name text, sender_avatar_url text, found_id uuid,
    reply jsonb, until timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    next_seq bigint;
    next_ordinal bigint;
    is_closed boolean;  -- to everybody
    is_quiet boolean;  -- but for who leads it
    pause integer;
    its_role text;
    mute_end timestamptz;
    opens_at timestamptz;
    reply_session uuid;
    its_excerpt text;
    sent_at timestamptz;
BEGIN
    SELECT seq + 1, message_count + 1, archived_at IS NOT NULL, is_read_only, slow_mode_seconds
    INTO next_seq, next_ordinal, is_closed, is_quiet, pause
    FROM sessions WHERE id = its_session FOR NO KEY UPDATE;
    SELECT u.name, u.avatar_url, m.role, m.muted_until, m.last_sent_at
    INTO sender_name, sender_avatar_url, its_role, mute_end, sent_at
    FROM users u
    LEFT JOIN session_users m
        ON m.session_id = its_session AND m.user_id = its_sender AND m.left_at IS NULL
    WHERE u.id = its_sender;
    IF its_key IS NOT NULL THEN
        SELECT id INTO found_id FROM messages
        WHERE sender_id = its_sender AND client_msg_id = its_key;
        IF FOUND THEN
            outcome := 'duplicate';
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    IF its_reply IS NOT NULL THEN
        SELECT session_id, CASE WHEN deleted_at IS NULL THEN left(content, 200) END
        INTO reply_session, its_excerpt
        FROM messages WHERE id = its_reply;
    END IF;
    IF pause > 0 THEN
        opens_at := sent_at + make_interval(secs => pause);
    END IF;
    outcome := CASE
        WHEN its_role IS NULL THEN 'not_a_member'
        WHEN its_role = 'READ_ONLY' OR is_closed OR is_quiet AND its_role = 'MEMBER' THEN 'read_only'
        WHEN mute_end > its_time THEN 'muted'
        WHEN its_reply IS NOT NULL AND reply_session IS DISTINCT FROM its_session
            THEN 'no_such_reply'
        WHEN its_role = 'MEMBER' AND opens_at > its_time THEN 'slow_mode'
        ELSE 'stored'
    END;
    IF outcome <> 'stored' THEN
        IF outcome = 'slow_mode' THEN
            until := opens_at;
        END IF;
        RETURN NEXT;
        RETURN;
    END IF;
    message_seq := next_seq;
    INSERT INTO messages (
        id, session_id, seq, changed_seq, ordinal, sender_id, client_msg_id, content, created_at,
        reply_to_id, reply_excerpt
    ) VALUES (
        new_id, its_session, next_seq, next_seq, next_ordinal, its_sender, its_key, its_content,
        its_time, its_reply, its_excerpt
    );
    UPDATE sessions SET seq = next_seq, message_count = next_ordinal, active_at = its_time
    WHERE id = its_session;
    UPDATE session_users
    SET last_read_seq = next_seq, last_read_ordinal = next_ordinal,
        last_sent_at = greatest(last_sent_at, its_time), mention_count = 0
    WHERE session_id = its_session AND user_id = its_sender;
    IF its_reply IS NOT NULL THEN
        reply := reply_of(its_reply, its_excerpt);
    END IF;
    RETURN NEXT;
END
$$;

-- Exchanges a refresh token for its successor; see Store.rotate_refresh_token. A function for the
-- same reason: of two calls at once the second judges after the first has committed.
CREATE FUNCTION rotate_refresh_token(
    hash bytea, successor bytea, moment timestamptz, grace_until timestamptz, expiry timestamptz,
    origin text  -- the address from where it was presented
) RETURNS TABLE (outcome text, family_id uuid, user_id uuid, device_id uuid)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    family refresh_families;
    token refresh_tokens;
    child refresh_tokens;
BEGIN
    SELECT f.* INTO family FROM refresh_families f JOIN refresh_tokens t ON t.family_id = f.id
    WHERE t.token_hash = hash FOR NO KEY UPDATE OF f;
    SELECT * INTO token FROM refresh_tokens WHERE token_hash = hash;
    outcome := 'refused';
    IF token.token_hash IS NULL OR token.expires_at <= moment OR family.revoked_at IS NOT NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT * INTO child FROM refresh_tokens WHERE parent_hash = hash;
    IF token.used_at IS NULL THEN
        UPDATE refresh_tokens SET used_at = moment WHERE token_hash = hash;
        INSERT INTO refresh_tokens (token_hash, family_id, parent_hash, created_at, expires_at)
        VALUES (successor, family.id, hash, moment, expiry);
        outcome := 'rotated';
    ELSIF token.used_at < grace_until OR child.used_at IS NOT NULL THEN
        UPDATE refresh_families SET revoked_at = moment WHERE id = family.id;
        INSERT INTO audit_log (at, action, user_id, address, details)
        VALUES (moment, 'refresh_token_reused', family.user_id, origin,
                jsonb_build_object('deviceId', family.device_id));
        outcome := 'reused';
    ELSIF child.token_hash = successor THEN
        outcome := 'repeated';
    ELSE  -- the key that successors are derived with has changed: nobody holds this successor
        RETURN NEXT;
        RETURN;
    END IF;
    family_id := family.id;
    user_id := family.user_id;
    device_id := family.device_id;
    RETURN NEXT;
END
$$;

-- The assistant

-- A conversation of one user with the assistant.
CREATE TABLE ai_sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    title text,  -- NULL: nobody has named it yet
    model text NOT NULL,
    system_prompt text,
    seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    created_at timestamptz NOT NULL,
    active_at timestamptz NOT NULL
);

CREATE INDEX ai_sessions_active_at_idx ON ai_sessions (user_id, active_at, id);

-- Questions and answers: an answer has the `seq` behind its question's. STREAMING is under way; what a
-- crash leaves like that becomes INTERRUPTED at the next start, with the text of the last checkpoint.
CREATE TABLE ai_messages (
    id uuid PRIMARY KEY,
    ai_session_id uuid NOT NULL REFERENCES ai_sessions ON DELETE CASCADE,
    seq bigint NOT NULL CHECK (seq > 0),
    role text NOT NULL CHECK (role IN ('USER', 'ASSISTANT')),
    status text NOT NULL
        CHECK (status IN ('STREAMING', 'COMPLETE', 'STOPPED', 'FAILED', 'INTERRUPTED')),
    content text NOT NULL,
    created_at timestamptz NOT NULL,
    client_msg_id text CHECK (char_length(client_msg_id) BETWEEN 1 AND 255),
    model text,
    finish_reason text,
    error_code text,
    prompt_tokens integer CHECK (prompt_tokens >= 0),
    completion_tokens integer CHECK (completion_tokens >= 0),
    is_estimated boolean NOT NULL DEFAULT false,  -- the provider did not say how many
    replaces_id uuid,  -- the answer, deleted, in whose place this one was asked for
    node text,  -- the daemon that makes it, by its tag; NULL: the only one
    CONSTRAINT ai_messages_seq_key UNIQUE (ai_session_id, seq)
);

-- One answer of a session is under way.
CREATE UNIQUE INDEX ai_messages_streaming_key ON ai_messages (ai_session_id)
    WHERE status = 'STREAMING';
CREATE UNIQUE INDEX ai_messages_client_msg_id_key ON ai_messages (ai_session_id, client_msg_id)
    WHERE client_msg_id IS NOT NULL;
CREATE INDEX ai_messages_replaces_id_idx ON ai_messages (replaces_id)
    WHERE replaces_id IS NOT NULL;

-- Tokens of a user by the day of UTC; also those of answers in sessions, which have no row here.
CREATE TABLE ai_usage (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    day date NOT NULL,
    prompt_tokens bigint NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens bigint NOT NULL CHECK (completion_tokens >= 0),
    PRIMARY KEY (user_id, day)
);
