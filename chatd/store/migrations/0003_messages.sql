-- Messages that change. `version` counts the texts that a message has had.
ALTER TABLE messages ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version > 0);

-- A deleted message stays as a tombstone, without its texts: its place and its ordinal count on.
ALTER TABLE messages ADD COLUMN deleted_by uuid;

-- The texts before the current one; `created_at` is when each was written.
CREATE TABLE message_revisions (
    message_id uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    version integer NOT NULL CHECK (version > 0),
    content text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, version)
);
