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

-- One reaction of one member; `seq` is the one it took. Emoji are ordered by code point.
CREATE TABLE reactions (
    message_id uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    emoji text COLLATE "C" NOT NULL CHECK (octet_length(emoji) BETWEEN 1 AND 32),
    user_id uuid NOT NULL REFERENCES users,
    seq bigint NOT NULL CHECK (seq > 0),
    PRIMARY KEY (message_id, emoji, user_id)
);

-- Tells readers whether there is anything to look up.
ALTER TABLE messages
    ADD COLUMN reaction_count integer NOT NULL DEFAULT 0 CHECK (reaction_count >= 0);

-- All reactions to a message: [[emoji, count, [user ids, the first 20 to react]], ...].
CREATE FUNCTION reactions_of(message uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(jsonb_build_array(emoji, number, user_ids) ORDER BY emoji)
    FROM (
        SELECT emoji, count(*) AS number, (array_agg(user_id ORDER BY seq))[1:20] AS user_ids
        FROM reactions
        WHERE message_id = message
        GROUP BY emoji
    ) each
$$;
