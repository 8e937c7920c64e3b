-- Conversations with the assistant, and what they cost.

CREATE TABLE ai_sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    title text,
    model text NOT NULL,
    system_prompt text,
    seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    created_at timestamptz NOT NULL,
    active_at timestamptz NOT NULL
);

CREATE INDEX ai_sessions_active_at_idx ON ai_sessions (user_id, active_at, id);

CREATE TABLE ai_messages (
    id uuid PRIMARY KEY,
    ai_session_id uuid NOT NULL REFERENCES ai_sessions ON DELETE CASCADE,
    seq bigint NOT NULL CHECK (seq > 0),
    role text NOT NULL CHECK (role IN ('USER', 'ASSISTANT')),
    status text NOT NULL
        CHECK (status IN ('STREAMING', 'COMPLETE', 'STOPPED', 'FAILED', 'INTERRUPTED')),
    content text NOT NULL,
    created_at timestamptz NOT NULL,
    client_msg_id text CHECK (char_length(client_msg_id) BETWEEN 1 AND 255),
    model text,
    finish_reason text,
    error_code text,
    prompt_tokens integer CHECK (prompt_tokens >= 0),
    completion_tokens integer CHECK (completion_tokens >= 0),
    is_estimated boolean NOT NULL DEFAULT false,
    replaces_id uuid,
    CONSTRAINT ai_messages_seq_key UNIQUE (ai_session_id, seq)
);

CREATE UNIQUE INDEX ai_messages_streaming_key ON ai_messages (ai_session_id)
    WHERE status = 'STREAMING';
CREATE UNIQUE INDEX ai_messages_client_msg_id_key ON ai_messages (ai_session_id, client_msg_id)
    WHERE client_msg_id IS NOT NULL;
CREATE INDEX ai_messages_replaces_id_idx ON ai_messages (replaces_id)
    WHERE replaces_id IS NOT NULL;

CREATE TABLE ai_usage (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    day date NOT NULL,
    prompt_tokens bigint NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens bigint NOT NULL CHECK (completion_tokens >= 0),
    PRIMARY KEY (user_id, day)
);
