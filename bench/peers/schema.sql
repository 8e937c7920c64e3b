-- The database of a peer: what of chatd's own schema these scenarios touch, the same for both.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    avatar_url text,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('DIRECT', 'GROUP', 'PUBLIC')),
    name text,
    created_by uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT now(),
    seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);  -- each message updates the row: room for it on the same page

CREATE TABLE session_users (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users,
    role text NOT NULL CHECK (role IN ('OWNER', 'MEMBER')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, user_id)
);

CREATE TABLE messages (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL,
    seq bigint NOT NULL,
    sender_id uuid NOT NULL,
    client_msg_id text,
    content text NOT NULL CHECK (char_length(content) <= 16384),
    created_at timestamptz NOT NULL,
    UNIQUE (session_id, seq),
    UNIQUE (sender_id, client_msg_id),
    FOREIGN KEY (session_id, sender_id) REFERENCES session_users ON DELETE CASCADE
);
