"use strict";
// The operations: validation and SQL. Shapes are chatd's.

const { randomUUID } = require("node:crypto");

const { HttpError, hashPassword, issueToken } = require("./auth");
const { rows, transaction } = require("./database");

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
const UNIQUE_VIOLATION = "23505";
const MAX_CONTENT = 16384;
const PAGE = 50;

const MESSAGE = `
  m.id, m.session_id, m.seq, m.sender_id, u.name, u.avatar_url, m.content, m.created_at,
  m.client_msg_id`;

// One statement, one commit. The update's row lock makes the session's messages wait for each
// other, so seq has no holes; a repeated client_msg_id fails the whole statement and takes none.
const SEND = `
  WITH member AS (
    SELECT u.id, u.name, u.avatar_url
    FROM session_users s JOIN users u ON u.id = s.user_id
    WHERE s.session_id = $2 AND s.user_id = $3
  ), raised AS (
    UPDATE sessions SET seq = seq + 1
    WHERE id = $2 AND EXISTS (SELECT FROM member)
    RETURNING seq
  ), m AS (
    INSERT INTO messages (id, session_id, seq, sender_id, content, created_at, client_msg_id)
    SELECT $1::uuid, $2::uuid, raised.seq, $3::uuid, $4, now(), $5 FROM raised
    RETURNING *
  )
  SELECT ${MESSAGE} FROM m, member u`;

const FIND = `
  SELECT ${MESSAGE} FROM messages m JOIN users u ON u.id = m.sender_id
  WHERE m.sender_id = $1 AND m.client_msg_id = $2`;

const IS_MEMBER = "SELECT 1 FROM session_users WHERE session_id = $1 AND user_id = $2";

// The membership is part of the query: its row comes back even when there is no message.
const HISTORY = `
  SELECT s.seq AS head, ${MESSAGE}
  FROM session_users mine
  JOIN sessions s ON s.id = mine.session_id
  LEFT JOIN LATERAL (
    SELECT * FROM messages
    WHERE session_id = s.id AND seq < $3
    ORDER BY seq DESC LIMIT $4
  ) m ON true
  LEFT JOIN users u ON u.id = m.sender_id
  WHERE mine.session_id = $1 AND mine.user_id = $2
  ORDER BY m.seq`;

function toMessage(row) {
  return {
    id: row.id,
    sessionId: row.session_id,
    seq: row.seq,
    sender: { id: row.sender_id, name: row.name, avatarUrl: row.avatar_url },
    content: row.content,
    createdAt: row.created_at,
    clientMsgId: row.client_msg_id,
    replyTo: null,
    mentions: [],
    attachments: [],
  };
}

function toSession(row) {
  return {
    id: row.id,
    kind: row.kind,
    name: row.name,
    seq: row.seq,
    memberCount: row.member_count,
    createdAt: row.created_at,
  };
}

function check(isValid) {
  if (!isValid) throw new HttpError(400, "validation");
}

function isUuid(value) {
  return typeof value === "string" && UUID.test(value);
}

async function register(body) {
  const { email, password, name } = body ?? {};
  check(typeof email === "string" && email.includes("@") && email.length <= 254);
  check(typeof password === "string" && password.length >= 8 && password.length <= 72);
  check(typeof name === "string" && name.length >= 1 && name.length <= 64);
  const id = randomUUID();
  try {
    await rows(
      "register",
      "INSERT INTO users (id, email, name, password_hash) VALUES ($1, $2, $3, $4)",
      [id, email, name, await hashPassword(password)],
    );
  } catch (error) {
    if (error.code === UNIQUE_VIOLATION) throw new HttpError(409, "conflict");
    throw error;
  }
  return { user: { id, name, avatarUrl: null, email }, accessToken: issueToken(id) };
}

async function createSession(userId, body) {
  const { kind, name, memberIds } = body ?? {};
  check(kind === "GROUP" || kind === "PUBLIC");
  check(typeof name === "string" && name.length >= 1 && name.length <= 255);
  check(Array.isArray(memberIds) && memberIds.length <= 1000 && memberIds.every(isUuid));
  const id = randomUUID();
  const others = [...new Set(memberIds)].filter((memberId) => memberId !== userId);
  const created = await transaction(async (client) => {
    const { rows: [session] } = await client.query(
      "INSERT INTO sessions (id, kind, name, created_by) VALUES ($1, $2, $3, $4) RETURNING *",
      [id, kind, name, userId],
    );
    await client.query(
      `INSERT INTO session_users (session_id, user_id, role)
       SELECT $1::uuid, $2::uuid, 'OWNER' UNION ALL SELECT $1, unnest($3::uuid[]), 'MEMBER'`,
      [id, userId, others],
    );
    return session;
  });
  return toSession({ ...created, member_count: others.length + 1 });
}

async function checkMember(userId, sessionId) {
  check(isUuid(sessionId));
  const [member] = await rows("is_member", IS_MEMBER, [sessionId, userId]);
  if (!member) throw new HttpError(403, "not_a_member");
}

async function readPage(userId, sessionId, beforeSeq, limit) {
  const before = beforeSeq ?? Number.MAX_SAFE_INTEGER;
  const found = await rows("history", HISTORY, [sessionId, userId, before, limit + 1]);
  if (found.length === 0) throw new HttpError(403, "not_a_member");
  const messages = found.filter((row) => row.id !== null);
  return {
    messages: messages.slice(-limit).map(toMessage),
    hasBefore: messages.length > limit,
    seq: found[0].head,
  };
}

/** Return a page of messages by keyset, oldest first. */
async function history(userId, sessionId, beforeSeqText, limitText = PAGE) {
  const limit = Number(limitText);
  const beforeSeq = beforeSeqText === undefined ? undefined : Number(beforeSeqText);
  check(isUuid(sessionId) && Number.isInteger(limit) && limit >= 1 && limit <= 100);
  check(beforeSeq === undefined || Number.isSafeInteger(beforeSeq));
  const page = await readPage(userId, sessionId, beforeSeq, limit);
  return { ...page, hasAfter: beforeSeq !== undefined && page.seq >= beforeSeq };
}

/** Return the newest page, as the answer to `session:join`. */
async function joinPage(userId, sessionId) {
  return readPage(userId, sessionId, undefined, PAGE);
}

/** Store a message and return it; when it resolves, the message is committed. */
async function send(userId, payload) {
  const { sessionId, content, clientMsgId } = payload ?? {};
  check(isUuid(sessionId));
  check(typeof content === "string" && content.length >= 1 && content.length <= MAX_CONTENT);
  check(typeof clientMsgId === "string" && clientMsgId.length >= 1 && clientMsgId.length <= 255);
  const values = [randomUUID(), sessionId, userId, content, clientMsgId];
  try {
    const [stored] = await rows("send", SEND, values);
    if (!stored) throw new HttpError(403, "not_a_member");
    return { message: toMessage(stored), duplicate: false };
  } catch (error) {
    if (error.code !== UNIQUE_VIOLATION) throw error;
    return { message: await repeated(userId, sessionId, content, clientMsgId), duplicate: true };
  }
}

async function repeated(userId, sessionId, content, clientMsgId) {
  const [row] = await rows("find", FIND, [userId, clientMsgId]);
  if (!row || row.session_id !== sessionId || row.content !== content) {
    throw new HttpError(409, "idempotency_conflict");
  }
  return toMessage(row);
}

module.exports = { checkMember, createSession, history, joinPage, register, send };
