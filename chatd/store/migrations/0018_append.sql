-- A function for a message alone, and one for many that is as fast in a young database as in an old
-- one: to see what a message answers it read all of the session, until there were statistics.

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

-- Stores a batch of messages, one array a column, and returns one row a message.
--
-- A function, because in a volatile one each statement sees what was committed before it: the
-- second reads after the locks of the first are held, in one round trip. Everything is judged
-- against the state before the batch. A duplicate comes back as it is stored; of a stored message
-- only what the caller does not know already. `mentioned` is NULL where nobody is: {place: ids or
-- "ALL"}; whom a stored message newly mentions comes behind, as rows `told` with the id in found_id.
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
           d_id, d_session_id, d_changed_seq, d_content, d_created_at,
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
