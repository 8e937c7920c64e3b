-- A function for a message alone.

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
