-- Links that were mailed, of which only hashes are stored: each is used once, and a newer one of a
-- purpose ends the older.
CREATE TABLE mail_tokens (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('VERIFY', 'CHANGE', 'RESET')),
    token_hash bytea NOT NULL UNIQUE,
    email text NOT NULL,  -- to which it was sent
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, purpose)
);
