-- Sign-in with an OpenID Connect issuer.
ALTER TABLE users
    ADD COLUMN email_verified_at timestamptz;  -- when chatd itself saw that mail there is read

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
