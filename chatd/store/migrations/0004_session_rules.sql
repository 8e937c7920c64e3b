-- Rules of a session: who may write, and how often.
ALTER TABLE sessions
    ADD COLUMN is_read_only boolean NOT NULL DEFAULT false,  -- only OWNER and ADMIN write
    ADD COLUMN archived_at timestamptz,  -- nobody writes
    ADD COLUMN slow_mode_seconds integer NOT NULL DEFAULT 0
        CHECK (slow_mode_seconds BETWEEN 0 AND 120);

ALTER TABLE session_users
    ADD COLUMN muted_until timestamptz,  -- may not write before; `muted` is the user's own wish
    ADD COLUMN last_sent_at timestamptz;  -- for slow mode
