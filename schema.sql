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
    ('schema_version', '11');

-- People

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (email <> ''),
    name text NOT NULL CHECK (name <> ''),
    avatar_url text,
    password_hash text,
    created_at timestamptz NOT NULL,
    last_seen timestamptz,
    manual_status text CHECK (manual_status IN ('BUSY', 'INVISIBLE')),
    status_text text,
    status_until timestamptz,
    email_verified_at timestamptz  -- when chatd itself saw that mail there is read
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

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

-- Sessions and their members

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('DIRECT', 'GROUP', 'PUBLIC')),
    name text,
    direct_key text CHECK ((direct_key IS NOT NULL) = (kind = 'DIRECT')),
    created_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    active_at timestamptz NOT NULL,  -- created_at of the last message, or else of the session
    seq bigint NOT NULL DEFAULT 0,
    changed_seq bigint NOT NULL DEFAULT 0 CHECK (changed_seq BETWEEN 0 AND seq),
    message_count bigint NOT NULL DEFAULT 0 CHECK (message_count BETWEEN 0 AND seq),
    member_count bigint NOT NULL DEFAULT 0 CHECK (member_count >= 0),
    is_read_only boolean NOT NULL DEFAULT false,  -- only OWNER and ADMIN write
    archived_at timestamptz,  -- nobody writes
    slow_mode_seconds integer NOT NULL DEFAULT 0 CHECK (slow_mode_seconds BETWEEN 0 AND 120)
) WITH (fillfactor = 80);  -- each message updates the row: room for it on the same page

CREATE UNIQUE INDEX sessions_direct_key_key ON sessions (direct_key) WHERE direct_key IS NOT NULL;

-- Who left keeps the row, as a trace with left_at. unread = message_count - last_read_ordinal.
CREATE TABLE session_users (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users,
    role text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER', 'READ_ONLY')),
    joined_at timestamptz NOT NULL,
    left_at timestamptz,
    last_read_seq bigint NOT NULL DEFAULT 0 CHECK (last_read_seq >= 0),
    last_read_ordinal bigint NOT NULL DEFAULT 0 CHECK (last_read_ordinal >= 0),
    mention_count integer NOT NULL DEFAULT 0 CHECK (mention_count >= 0),  -- nobody counts yet
    muted boolean NOT NULL DEFAULT false,
    changed_seq bigint NOT NULL DEFAULT 0 CHECK (changed_seq >= 0),
    muted_until timestamptz,  -- may not write before; `muted` is the user's own wish
    last_sent_at timestamptz,  -- for slow mode
    PRIMARY KEY (session_id, user_id)
) WITH (fillfactor = 80);  -- markers move with each message

CREATE INDEX session_users_user_id_idx ON session_users (user_id) WHERE left_at IS NULL;
CREATE INDEX session_users_changed_seq_idx ON session_users (session_id, changed_seq);

-- Messages. `ordinal` counts the messages of a session, `seq` all its changes.
CREATE TABLE messages (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    changed_seq bigint NOT NULL CHECK (changed_seq >= seq),
    ordinal bigint NOT NULL CHECK (ordinal BETWEEN 1 AND seq),
    sender_id uuid NOT NULL,
    client_msg_id text CHECK (char_length(client_msg_id) BETWEEN 1 AND 255),
    content text NOT NULL CHECK (char_length(content) <= 16384),
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted_at timestamptz,
    reply_to_id uuid REFERENCES messages ON DELETE SET NULL,
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),  -- counts the texts it has had
    deleted_by uuid,  -- no reference: the trace outlives the account
    reaction_count integer NOT NULL DEFAULT 0 CHECK (reaction_count >= 0),  -- spares a look-up
    CONSTRAINT messages_seq_key UNIQUE (session_id, seq),
    -- To the membership, not to users and sessions: one check a row instead of two, and of a row
    -- that the append updates anyway, so no lock of a user's row is written for each message.
    FOREIGN KEY (session_id, sender_id) REFERENCES session_users ON DELETE CASCADE
);

CREATE INDEX messages_changed_seq_idx ON messages (session_id, changed_seq);
CREATE UNIQUE INDEX messages_client_msg_id_key ON messages (sender_id, client_msg_id)
    WHERE client_msg_id IS NOT NULL;
CREATE INDEX messages_reply_to_id_idx ON messages (reply_to_id) WHERE reply_to_id IS NOT NULL;

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

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    action text NOT NULL,
    user_id uuid,  -- no reference: the trace outlives the account
    details jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_log_user_id_idx ON audit_log (user_id, at);

-- Stores a batch of messages, one array a column, and returns one row a message.
--
-- A function, because in a volatile one each statement sees what was committed before it: the
-- second reads after the locks of the first are held, in one round trip. Everything is judged
-- against the state before the batch. A duplicate comes back as it is stored; of a stored message
-- only what the caller does not know already.
CREATE FUNCTION append_messages(
    ids uuid[], session_ids uuid[], sender_ids uuid[], contents text[],
    times timestamptz[], client_msg_ids text[], reply_to_ids uuid[]
) RETURNS TABLE (
    place bigint, outcome text, message_seq bigint, sender_name text, sender_avatar_url text,
    found_id uuid, found_session_id uuid, found_changed_seq bigint, found_content text,
    found_created_at timestamptz, found_reply_to_id uuid
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM sessions WHERE id = ANY (session_ids) ORDER BY id FOR NO KEY UPDATE;
    RETURN QUERY
    WITH judged AS (
        SELECT b.*, s.seq AS head, s.message_count, u.name, u.avatar_url,
               d.id AS d_id, d.session_id AS d_session_id, d.seq AS d_seq,
               d.changed_seq AS d_changed_seq, d.content AS d_content,
               d.created_at AS d_created_at, d.reply_to_id AS d_reply_to_id,
               CASE
                   WHEN d.id IS NOT NULL THEN 'duplicate'
                   WHEN m.user_id IS NULL THEN 'not_a_member'
                   WHEN m.role = 'READ_ONLY' THEN 'read_only'
                   WHEN b.reply_to_id IS NOT NULL AND r.id IS NULL THEN 'no_such_reply'
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
            created_at, reply_to_id
        )
        SELECT id, session_id, head + step, head + step, message_count + step, sender_id,
               client_msg_id, content, created_at, reply_to_id
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
        SET last_read_seq = last.seq, last_read_ordinal = last.ordinal
        FROM (
            SELECT session_id, sender_id, max(head + step) AS seq,
                   max(message_count + step) AS ordinal
            FROM numbered WHERE verdict = 'stored' GROUP BY session_id, sender_id
        ) last
        WHERE m.session_id = last.session_id AND m.user_id = last.sender_id
    )
    SELECT nth, verdict, coalesce(d_seq, head + step), name, avatar_url,
           d_id, d_session_id, d_changed_seq, d_content, d_created_at, d_reply_to_id
    FROM numbered;
END
$$;

-- Exchanges a refresh token for its successor; see Store.rotate_refresh_token. A function for the
-- same reason: of two calls at once the second judges after the first has committed.
CREATE FUNCTION rotate_refresh_token(
    hash bytea, successor bytea, moment timestamptz, grace_until timestamptz, expiry timestamptz
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
        INSERT INTO audit_log (at, action, user_id, details)
        VALUES (moment, 'refresh_token_reused', family.user_id,
                jsonb_build_object('family', family.id, 'device', family.device_id));
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
