-- Bots and their tokens. That an account is a bot stands in its id: the version of the UUID is 8.
ALTER TABLE users
    ADD COLUMN owner_id uuid REFERENCES users  -- who made this bot
        CHECK (owner_id IS NULL OR substr(id::text, 15, 1) = '8');

CREATE INDEX users_owner_id_idx ON users (owner_id) WHERE owner_id IS NOT NULL;

-- API tokens: only hashes are stored. A revoked one is deleted.
CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL CHECK (name <> ''),
    token_hash bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz  -- to the minute
);

CREATE INDEX api_tokens_user_id_idx ON api_tokens (user_id);
