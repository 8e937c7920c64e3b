-- Read state: what is unread is exact, without the reader's own messages and deleted ones.

-- The highest ordinal of a deleted message: who has read beyond it has nothing to look up.
ALTER TABLE sessions
    ADD COLUMN last_deleted_ordinal bigint NOT NULL DEFAULT 0 CHECK (last_deleted_ordinal >= 0);

UPDATE sessions s
SET last_deleted_ordinal = gone.ordinal
FROM (
    SELECT session_id, max(ordinal) AS ordinal FROM messages
    WHERE deleted_at IS NOT NULL
    GROUP BY session_id
) gone
WHERE s.id = gone.session_id;

CREATE INDEX messages_deleted_idx ON messages (session_id, ordinal) WHERE deleted_at IS NOT NULL;

-- Sending moves the sender's marker, so nobody has own messages above it, but who has set it back.
-- Both columns behind `set_back_ordinal` count for as long as the marker stands there.
ALTER TABLE session_users
    ADD COLUMN set_back_ordinal bigint,
    ADD COLUMN own_above integer NOT NULL DEFAULT 0 CHECK (own_above >= 0),
    ADD COLUMN marked_unread boolean NOT NULL DEFAULT false;

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
    SELECT s.id, s.seq, unread_of(s, m), m.mention_count, m.last_read_seq, s.member_count,
           m.last_read_seq <> was.last_read_seq,
           m.last_read_seq <> was.last_read_seq OR was_marked <> sets_back
    FROM sessions s
    JOIN session_users m ON m.session_id = s.id AND m.user_id = reader
    WHERE s.id = session;
END
$$;
