-- Messages to search in: bench.messages of them, 500 sessions, bench.caller in every tenth.
SELECT setseed(0.5);

INSERT INTO users (id, email, name, created_at)
SELECT md5('u' || n)::uuid, 'u' || n || '@example.org', 'u' || n, now()
FROM generate_series(1, 500) AS n;

INSERT INTO sessions (id, kind, name, created_at, active_at)
SELECT md5('s' || n)::uuid, 'GROUP', 's' || n, now(), now() FROM generate_series(1, 500) AS n;

INSERT INTO session_users (session_id, user_id, role, joined_at)
SELECT md5('s' || n)::uuid, md5('u' || (n + k * 37) % 500 + 1)::uuid, 'MEMBER', now()
FROM generate_series(1, 500) AS n, generate_series(0, 9) AS k
UNION ALL
SELECT md5('s' || n)::uuid, current_setting('bench.caller')::uuid, 'MEMBER', now()
FROM generate_series(1, 500, 10) AS n;

-- 50,000 words: nine of ten are made of syllables, one of two Chinese characters.
CREATE TEMP TABLE vocabulary AS
SELECT rank, CASE
    WHEN rank % 10 = 0 THEN
        chr(19968 + abs(hashint4(rank)) % 3000) || chr(19968 + abs(hashint4(-rank)) % 3000)
    ELSE (
        SELECT string_agg(
            substr('bcdfghklmnprstvz', 1 + abs(hashint4(rank * 7 + k)) % 16, 1)
            || substr('aeiou', 1 + abs(hashint4(rank * 11 + k)) % 5, 1), '' ORDER BY k
        ) || substr('nrstl', 1 + rank % 5, 1)
        FROM generate_series(1, 1 + (rank > 50)::int + abs(hashint4(rank)) % 3) AS k
    )
END AS word
FROM generate_series(1, 50000) AS rank;

-- Ten a message, the word of rank r as often as 1/r: Zipf's law.
CREATE TEMP TABLE texts AS
SELECT n, string_agg(word, ' ') AS content
FROM (
    SELECT n, ceil(power(50000, random()))::int AS rank
    FROM generate_series(1, current_setting('bench.messages')::int) AS n, generate_series(1, 10)
) picks
JOIN vocabulary USING (rank)
GROUP BY n;

-- One every 20 seconds up to now; the first sessions have most of them.
INSERT INTO messages (
    id, session_id, seq, changed_seq, ordinal, sender_id, content, created_at
)
SELECT md5('m' || n)::uuid, md5('s' || session)::uuid, place, place, place,
    md5('u' || (session + n % 10 * 37) % 500 + 1)::uuid, content,
    now() - (current_setting('bench.messages')::int - n) * interval '20 seconds'
FROM (
    SELECT *, row_number() OVER (PARTITION BY session ORDER BY n) AS place
    FROM (
        SELECT n, content, 1 + floor(500 * power(random(), 1.5))::int AS session FROM texts
    ) scattered
) placed;

UPDATE sessions s SET seq = of_it.count, message_count = of_it.count
FROM (SELECT session_id, count(*) FROM messages GROUP BY session_id) of_it
WHERE of_it.session_id = s.id;

-- The index at once: the daemon would take its time for it.
DROP INDEX search_entries_grams_idx;
INSERT INTO search_entries (message_id, session_id, sender_id, created_at, body)
SELECT id, session_id, sender_id, created_at, search_text(content) FROM messages;
INSERT INTO search_positions (session_id, seq) SELECT id, seq FROM sessions;
CREATE INDEX search_entries_grams_idx ON search_entries USING gin (search_grams(body))
    WITH (gin_pending_list_limit = 512);
