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

-- Text as it is compared: without case, accents and the widths of letters.
CREATE FUNCTION search_text(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
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
    word text;
    piece text;
    grams text[];
BEGIN
    FOREACH word IN ARRAY string_to_array(translate(content, E'\t\n', '  '), ' ') LOOP
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

-- Takes at most `batch` changed messages into the index; returns how many sessions and messages it
-- has dealt with, 0 when nothing is left or another node is at it.
CREATE FUNCTION search_index(batch integer) RETURNS integer LANGUAGE plpgsql
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
