-- People: found by their name, whatever its case. The daemon folds it (chatd.store.checks): what
-- lower() makes of letters outside ASCII depends on the database's locale.
ALTER TABLE users ADD COLUMN search_name text NOT NULL DEFAULT '';

UPDATE users SET search_name = lower(name);
