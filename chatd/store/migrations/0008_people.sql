-- People: found by their name, whatever its case. The daemon folds it (chatd.store.checks): what
-- lower() makes of letters outside ASCII depends on the database's locale.
ALTER TABLE users ADD COLUMN search_name text NOT NULL DEFAULT '';

UPDATE users SET search_name = lower(name);

-- One column for the one avatar that somebody has chosen: so who reads a message, which has it
-- beside the sender's name, pays nothing for the second kind.
ALTER TABLE users ADD CONSTRAINT users_avatar_url_check
    CHECK (avatar_url ~ '^(https://.+|#[0-9a-f]{6})$');

-- The audit log says from where, and is read by its user, the newest first.
ALTER TABLE audit_log ADD COLUMN address text;
DROP INDEX audit_log_user_id_idx;
CREATE INDEX audit_log_user_id_idx ON audit_log (user_id, id);

-- As before, and a theft is written with the address from where it was tried.
DROP FUNCTION rotate_refresh_token;
CREATE FUNCTION rotate_refresh_token(
    hash bytea, successor bytea, moment timestamptz, grace_until timestamptz, expiry timestamptz,
    origin text  -- the address from where it was presented
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
        INSERT INTO audit_log (at, action, user_id, address, details)
        VALUES (moment, 'refresh_token_reused', family.user_id, origin,
                jsonb_build_object('deviceId', family.device_id));
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

-- All sessions that somebody is or was in, also for an export and the end of an account.
DROP INDEX session_users_user_id_idx;
CREATE INDEX session_users_user_id_idx ON session_users (user_id, session_id);

-- Who is erased stays as a name for their place in sessions, without anything of theirs.
ALTER TABLE users ADD COLUMN erased_at timestamptz;

-- Accounts that are erased: their traces in sessions are removed bit by bit, and a daemon that was
-- stopped half-way goes on at its next start. `family_ids` are the logins whose access tokens may
-- still be alive.
CREATE TABLE erasures (
    user_id uuid PRIMARY KEY REFERENCES users,
    deletes_messages boolean NOT NULL,
    family_ids uuid[] NOT NULL,
    begun_at timestamptz NOT NULL,
    finished_at timestamptz
);

CREATE INDEX erasures_begun_at_idx ON erasures (begun_at);
