-- Replies. The excerpt is what the answered message said then; NULL when it is deleted.
ALTER TABLE messages ADD COLUMN reply_excerpt text;

UPDATE messages m SET reply_excerpt = left(p.content, 200)
FROM messages p WHERE p.id = m.reply_to_id AND p.deleted_at IS NULL;

-- What a reply shows of the message it answers: [id, seq, user id, name, avatar, excerpt].
CREATE FUNCTION reply_of(parent uuid, excerpt text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(m.id, m.seq, u.id, u.name, u.avatar_url, excerpt)
    FROM messages m
    JOIN users u ON u.id = m.sender_id
    WHERE m.id = parent
$$;

-- Mentions: NULL is nobody, {} everybody.
ALTER TABLE messages ADD COLUMN mentions uuid[];

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

-- Pins: at most 50 a session.
ALTER TABLE messages
    ADD COLUMN pinned_at timestamptz,
    ADD COLUMN pinned_by uuid CHECK ((pinned_at IS NULL) = (pinned_by IS NULL));

CREATE INDEX messages_pinned_at_idx ON messages (session_id, pinned_at) WHERE pinned_at IS NOT NULL;

-- Who may write is judged where messages are stored.
DROP FUNCTION append_messages(uuid[], uuid[], uuid[], text[], timestamptz[], text[], uuid[]);

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
        LEFT JOIN messages r ON r.id = b.reply_to_id AND r.session_id = b.session_id
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
