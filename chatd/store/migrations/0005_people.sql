-- People: found by their name, whatever its case. The daemon folds it (chatd.store.checks): what
-- lower() makes of letters outside ASCII depends on the database's locale.
ALTER TABLE users ADD COLUMN search_name text NOT NULL DEFAULT '';

UPDATE users SET search_name = lower(name);

-- One column for the one avatar that somebody has chosen: so who reads a message, which has it
-- beside the sender's name, pays nothing for the second kind.
ALTER TABLE users ADD CONSTRAINT users_avatar_url_check
    CHECK (avatar_url ~ '^(https://.+|#[0-9a-f]{6})$');
