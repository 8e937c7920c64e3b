-- What Socket.IO clients need to be recovered after a restart of the daemon: written at the stop,
-- taken once when the client comes back, deleted when it comes too late. `state` is the daemon's
-- own JSON: nothing in SQL looks inside.
CREATE TABLE socket_recoveries (
    pid text PRIMARY KEY,  -- the private id of the connection: only its client knows it
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    state bytea NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Not compressed: it lives for minutes, and 5,000 states of 10 KiB are written in 0.5 s, not 1.5.
ALTER TABLE socket_recoveries ALTER COLUMN state SET STORAGE EXTERNAL;

CREATE INDEX socket_recoveries_user_id_idx ON socket_recoveries (user_id);
CREATE INDEX socket_recoveries_expires_at_idx ON socket_recoveries (expires_at);
