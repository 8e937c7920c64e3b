-- The second factor of accounts: a secret shared with an authenticator (RFC 6238).
CREATE TABLE second_factors (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    secret bytea NOT NULL,  -- sealed by the daemon for this user
    key_id text NOT NULL,  -- of the signing key under which it is sealed
    confirmed_at timestamptz,  -- NULL: being set up, a login does not ask for it
    last_step bigint NOT NULL DEFAULT 0  -- of the last code that was good: it and older ones are not
);

-- Each is good once: then it is deleted.
CREATE TABLE recovery_codes (
    user_id uuid NOT NULL REFERENCES second_factors ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

-- Logins whose password was right and that wait for the second factor.
CREATE TABLE login_challenges (
    challenge_hash bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    device_id uuid,  -- that the caller has proved to know
    password_mark bytea NOT NULL,  -- a hash of the password's hash: another password, another mark
    tries integer NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL
);

CREATE INDEX login_challenges_user_id_idx ON login_challenges (user_id);
CREATE INDEX login_challenges_expires_at_idx ON login_challenges (expires_at);
