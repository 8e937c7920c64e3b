-- Storing a message costs PostgreSQL a sixth less, and taking it into the search index a quarter.

-- A CHECK of a table is read, planned and compiled anew by each statement that writes to it, whether
-- its column is set or not: 23 of them were a fifth of append_message(). That of a domain is kept
-- ready by the session, and asked for what is set. A column changes to a domain without a CHECK
-- where it stands, so no table is written again. All that reads or writes the three waits meanwhile:
-- 4 to 7 s with a million messages, most of it two partial indexes that are built again.
CREATE DOMAIN counter AS bigint;
CREATE DOMAIN small_counter AS integer;
CREATE DOMAIN ordinal_number AS bigint;
CREATE DOMAIN version_number AS integer;
CREATE DOMAIN session_kind AS text;
CREATE DOMAIN slow_mode AS integer;
CREATE DOMAIN member_role AS text;
CREATE DOMAIN leaving_reason AS text;
CREATE DOMAIN client_key AS text;
CREATE DOMAIN message_content AS text;

ALTER TABLE sessions
    DROP CONSTRAINT sessions_check,
    DROP CONSTRAINT sessions_check1,
    DROP CONSTRAINT sessions_check2,
    DROP CONSTRAINT sessions_kind_check,
    DROP CONSTRAINT sessions_last_deleted_ordinal_check,
    DROP CONSTRAINT sessions_member_count_check,
    DROP CONSTRAINT sessions_slow_mode_seconds_check,
    ALTER kind TYPE session_kind,
    ALTER changed_seq TYPE counter,
    ALTER message_count TYPE counter,
    ALTER member_count TYPE counter,
    ALTER slow_mode_seconds TYPE slow_mode,
    ALTER last_deleted_ordinal TYPE counter,
    ADD CONSTRAINT sessions_order CHECK (changed_seq <= seq AND message_count <= seq);

ALTER TABLE session_users
    DROP CONSTRAINT session_users_changed_seq_check,
    DROP CONSTRAINT session_users_joined_seq_check,
    DROP CONSTRAINT session_users_last_read_ordinal_check,
    DROP CONSTRAINT session_users_last_read_seq_check,
    DROP CONSTRAINT session_users_left_reason_check,
    DROP CONSTRAINT session_users_mention_count_check,
    DROP CONSTRAINT session_users_own_above_check,
    DROP CONSTRAINT session_users_role_check,
    ALTER role TYPE member_role,
    ALTER last_read_seq TYPE counter,
    ALTER last_read_ordinal TYPE counter,
    ALTER mention_count TYPE small_counter,
    ALTER changed_seq TYPE counter,
    ALTER own_above TYPE small_counter,
    ALTER joined_seq TYPE counter,
    ALTER left_reason TYPE leaving_reason;

ALTER TABLE messages
    DROP CONSTRAINT messages_check,
    DROP CONSTRAINT messages_check1,
    DROP CONSTRAINT messages_check2,
    DROP CONSTRAINT messages_client_msg_id_check,
    DROP CONSTRAINT messages_content_check,
    DROP CONSTRAINT messages_reaction_count_check,
    DROP CONSTRAINT messages_seq_check,
    DROP CONSTRAINT messages_version_check,
    ALTER seq TYPE ordinal_number,
    ALTER ordinal TYPE ordinal_number,
    ALTER client_msg_id TYPE client_key,
    ALTER content TYPE message_content,
    ALTER version TYPE version_number,
    ALTER reaction_count TYPE small_counter,
    ADD CONSTRAINT messages_order CHECK (changed_seq >= seq AND ordinal <= seq);

ALTER DOMAIN counter ADD CHECK (VALUE >= 0);
ALTER DOMAIN small_counter ADD CHECK (VALUE >= 0);
ALTER DOMAIN ordinal_number ADD CHECK (VALUE > 0);
ALTER DOMAIN version_number ADD CHECK (VALUE > 0);
ALTER DOMAIN session_kind ADD CHECK (VALUE IN ('DIRECT', 'GROUP', 'PUBLIC'));
ALTER DOMAIN slow_mode ADD CHECK (VALUE BETWEEN 0 AND 120);
ALTER DOMAIN member_role ADD CHECK (VALUE IN ('OWNER', 'ADMIN', 'MEMBER', 'READ_ONLY'));
ALTER DOMAIN leaving_reason ADD CHECK (VALUE IN ('left', 'removed', 'banned'));
ALTER DOMAIN client_key ADD CHECK (char_length(VALUE) BETWEEN 1 AND 255);
ALTER DOMAIN message_content ADD CHECK (
    char_length(VALUE) <= 16384
    OR starts_with(VALUE, E'\x01') AND char_length(VALUE) <= 90000
);

-- What a CHECK of two columns would ask, asked only where one of them is set: see the domains. An
-- insert into messages pins nothing.
CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'row of % violates %', TG_TABLE_NAME, TG_NAME USING ERRCODE = 'check_violation';
END
$$;

CREATE TRIGGER sessions_direct_key BEFORE INSERT OR UPDATE OF kind, direct_key ON sessions
    FOR EACH ROW WHEN ((NEW.direct_key IS NOT NULL) <> (NEW.kind = 'DIRECT'))
    EXECUTE FUNCTION refuse_row();

CREATE TRIGGER messages_pinned BEFORE UPDATE OF pinned_at, pinned_by ON messages
    FOR EACH ROW WHEN ((NEW.pinned_at IS NULL) <> (NEW.pinned_by IS NULL))
    EXECUTE FUNCTION refuse_row();

-- What these return is of no domain: RETURN QUERY is strict.
CREATE OR REPLACE FUNCTION move_marker(session uuid, reader uuid, wanted bigint, sets_back boolean)
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

CREATE OR REPLACE FUNCTION append_messages(
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

-- The parts by which a text is found: of each word all threes of letters, and all ones and twos where
-- it has letters of U+2E80 and above (Chinese, Japanese, Korean, emoji: written without spaces, and
-- two are a word). A loop: half the time of one statement. Not distinct: the index sees to it.
CREATE OR REPLACE FUNCTION search_grams(content text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
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

-- Takes at most `batch` changed messages into the index; returns how many sessions and messages it
-- has dealt with, 0 when nothing is left or another node is at it.
CREATE OR REPLACE FUNCTION search_index(batch integer) RETURNS integer LANGUAGE plpgsql
SET enable_seqscan = on SET enable_hashjoin = on AS $$
DECLARE
    place record;
    taken integer;
    reach bigint;
    done integer := 0;
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
        WITH changed AS MATERIALIZED (
            SELECT * FROM messages
            WHERE session_id = place.id AND changed_seq > place.seq AND changed_seq <= place.head
            ORDER BY changed_seq LIMIT batch
        ), removed AS (
            DELETE FROM search_entries e USING changed c
            WHERE e.message_id = c.id AND c.deleted_at IS NOT NULL
        ), kept AS (
            INSERT INTO search_entries AS e (message_id, session_id, sender_id, created_at, body)
            SELECT id, session_id, sender_id, created_at, search_text(content)
            FROM changed WHERE deleted_at IS NULL
            ON CONFLICT (message_id) DO UPDATE SET body = excluded.body
            WHERE e.body <> excluded.body
        )
        SELECT count(*), max(changed_seq) INTO taken, reach FROM changed;
        reach := CASE WHEN taken < batch THEN place.head ELSE reach END;
        UPDATE search_positions SET seq = reach WHERE session_id = place.id;
        IF NOT FOUND THEN
            INSERT INTO search_positions (session_id, seq)
            SELECT id, reach FROM sessions WHERE id = place.id FOR KEY SHARE;
        END IF;
        done := done + 1 + taken;
        EXIT WHEN done >= batch;
    END LOOP;
    RETURN done;
END
$$;

-- With the types what the planner knew of the columns has gone. Not in an empty database: statistics
-- of empty tables are worse than none.
DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_stats WHERE schemaname = current_schema AND tablename = 'messages') THEN
        ANALYZE sessions, session_users, messages;
    END IF;
END
$do$;
