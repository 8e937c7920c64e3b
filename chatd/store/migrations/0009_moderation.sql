-- Moderation: deleted sessions, wishes of members, bans, invites, and who did what.
ALTER TABLE sessions
    ADD COLUMN deleted_at timestamptz;  -- without members from then on; a sweep takes the rest

CREATE INDEX sessions_deleted_at_idx ON sessions (deleted_at) WHERE deleted_at IS NOT NULL;

ALTER TABLE session_users
    ADD COLUMN favourite boolean NOT NULL DEFAULT false,
    ADD COLUMN joined_seq bigint NOT NULL DEFAULT 0 CHECK (joined_seq >= 0),
    ADD COLUMN left_reason text CHECK (left_reason IN ('left', 'removed', 'banned'));

UPDATE session_users SET joined_seq = changed_seq WHERE left_at IS NULL;

-- One that has ended stays until the next one or the end of the session; it bans nobody.
CREATE TABLE session_bans (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    banned_by uuid NOT NULL,  -- no reference: the ban outlives the account
    banned_at timestamptz NOT NULL,
    banned_until timestamptz,  -- NULL: until it is lifted
    reason text,
    PRIMARY KEY (session_id, user_id)
);

CREATE INDEX session_bans_user_id_idx ON session_bans (user_id);

-- Who knows the code may come in. Revoked ones are deleted, so are dead ones when one is made.
CREATE TABLE session_invites (
    code text PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_by uuid NOT NULL,  -- no reference: the invite outlives the account
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    role text NOT NULL CHECK (role IN ('MEMBER', 'READ_ONLY')),
    max_uses integer CHECK (max_uses > 0),
    uses integer NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND coalesce(max_uses, uses))
);

CREATE INDEX session_invites_session_id_idx ON session_invites (session_id, created_at);

ALTER TABLE audit_log
    ADD COLUMN session_id uuid,  -- no reference, as user_id: the trace outlives the session
    ADD COLUMN target_id uuid;  -- to whom it was done

CREATE INDEX audit_log_session_id_idx ON audit_log (session_id, id) WHERE session_id IS NOT NULL;

-- Another's message was deleted. A trigger, so that no way of deleting can forget it.
CREATE FUNCTION audit_deleted_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_log (at, action, user_id, session_id, target_id, details)
    VALUES (new.deleted_at, 'message_deleted', new.deleted_by, new.session_id, new.sender_id,
            jsonb_build_object('messageId', new.id));
    RETURN NULL;
END
$$;

CREATE TRIGGER messages_audit_deleted AFTER UPDATE OF deleted_at ON messages
    FOR EACH ROW
    WHEN (old.deleted_at IS NULL AND new.deleted_at IS NOT NULL AND new.deleted_by <> new.sender_id)
    EXECUTE FUNCTION audit_deleted_message();
