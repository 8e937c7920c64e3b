-- A pass over the search index is bounded by the text it takes in: 200 messages of 16 KiB took 2.3 s, on a
-- slow machine more than a statement may, and then the index stood still.

-- Takes at most `batch` changed messages into the index, and some 256 KiB of text: what a message costs
-- here is by its length. Returns how many sessions and messages it has dealt with, at least `batch`
-- when there may be more, 0 when nothing is left or another node is at it.
CREATE OR REPLACE FUNCTION search_index(batch integer) RETURNS integer LANGUAGE plpgsql
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
