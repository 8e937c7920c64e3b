-- Files: attached to messages, and as avatars.

-- What is attached, as it never changes: [[id, name, size, type, width, height, has thumbnail], ...];
-- NULL is nothing. Read with the message: no look at files for a page of history.
ALTER TABLE messages ADD COLUMN attachments jsonb;

-- A row is there before its bytes and goes after them: a crash in between leaves no bytes for ever.
CREATE TABLE files (
    id uuid PRIMARY KEY,
    key text NOT NULL UNIQUE CHECK (key ~ '^[0-9a-f]{32}$'),  -- of the bytes in their store: random
    uploader_id uuid NOT NULL REFERENCES users,
    session_id uuid,  -- NULL: to become an avatar. No reference: the row outlives the session
    name text NOT NULL CHECK (name <> ''),
    size bigint NOT NULL CHECK (size > 0),
    mime_type text NOT NULL,  -- as it was declared
    created_at timestamptz NOT NULL,
    upload_until timestamptz NOT NULL,  -- no upload begins later
    completed_at timestamptz,  -- the bytes are there, looked at, and nobody writes them any more
    served_type text,  -- what the bytes are; NULL: not known, or nothing to be shown
    width integer CHECK (width > 0),
    height integer CHECK ((width IS NULL) = (height IS NULL)),
    has_thumbnail boolean NOT NULL DEFAULT false,
    message_id uuid CHECK (message_id IS NULL OR completed_at IS NOT NULL),
    is_avatar boolean NOT NULL DEFAULT false,
    loose_since timestamptz NOT NULL,  -- attached to nothing since then, unless it is
    revoked_at timestamptz,  -- given to nobody any more; a sweep takes bytes and row
    sweep_at timestamptz  -- when the sweep looks at it next
);

CREATE INDEX files_uploader_id_idx ON files (uploader_id, id);
CREATE INDEX files_session_id_idx ON files (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX files_message_id_idx ON files (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX files_sweep_at_idx ON files (sweep_at) WHERE sweep_at IS NOT NULL;
CREATE INDEX files_loose_since_idx ON files (loose_since)
    WHERE message_id IS NULL AND NOT is_avatar AND revoked_at IS NULL;

-- A tombstone has no files. A trigger, so that no way of deleting can forget it.
CREATE FUNCTION revoke_attachments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE files SET revoked_at = new.deleted_at, sweep_at = new.deleted_at
    WHERE message_id = new.id AND revoked_at IS NULL;
    new.attachments := NULL;
    RETURN new;
END
$$;

CREATE TRIGGER messages_revoke_attachments BEFORE UPDATE OF deleted_at ON messages
    FOR EACH ROW
    WHEN (new.deleted_at IS NOT NULL AND old.attachments IS NOT NULL)
    EXECUTE FUNCTION revoke_attachments();

-- Its members went when it was deleted, so nobody reads its files; now nobody pays for them.
CREATE FUNCTION revoke_session_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE files SET revoked_at = old.deleted_at, sweep_at = old.deleted_at
    WHERE session_id = old.id AND revoked_at IS NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_revoke_files AFTER DELETE ON sessions
    FOR EACH ROW
    WHEN (old.deleted_at IS NOT NULL)
    EXECUTE FUNCTION revoke_session_files();

-- A picture that is nobody's avatar any more becomes loose, and the sweep finds it.
CREATE FUNCTION forget_avatar() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE files SET is_avatar = false
    WHERE id = substr(old.avatar_url, 10)::uuid AND new.avatar_url IS DISTINCT FROM old.avatar_url;
    RETURN NULL;
END
$$;

CREATE TRIGGER users_forget_avatar AFTER UPDATE OF avatar_url ON users
    FOR EACH ROW
    WHEN (old.avatar_url LIKE '/avatars/%')
    EXECUTE FUNCTION forget_avatar();

ALTER TABLE users DROP CONSTRAINT users_avatar_url_check;
ALTER TABLE users ADD CONSTRAINT users_avatar_url_check
    CHECK (avatar_url ~ '^(https://.+|#[0-9a-f]{6}|/avatars/[0-9a-f-]{36})$');
