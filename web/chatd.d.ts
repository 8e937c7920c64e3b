// What chatd's clients say and hear. Made from /asyncapi.json and /openapi.json by `make types`.

/** What an event is acknowledged with; clients branch on `error.code`. */
export type Ack<T> = ({ ok: true } & T) | { ok: false; error: Refusal };

/** A user as they see themselves. */
export interface Account {
  id: string;
  name: string;
  avatarUrl: string | null;
  avatarColor: string;
  isBot?: boolean;
  email: string;
  emailVerified: boolean;
  createdAt: string;
}

/** Follow an answer from an index on: UTF-16 units, as strings of JavaScript count. */
export interface AiAttach {
  messageId: string;
  fromIndex?: number;
}

/** What there is of an answer from `index` on; unless it is `done` the rest follows. `unreadable` is as of a message: `text` is empty then. */
export interface AiAttached {
  messageId: string;
  text: string;
  index: number;
  done: boolean;
  status: "STREAMING" | "COMPLETE" | "STOPPED" | "FAILED" | "INTERRUPTED";
  finishReason: string | null;
  errorCode: string | null;
  unreadable?: boolean;
}

/** More of an answer: `text` stands at `index`, in UTF-16 units. Who has less than `index` units has missed something, and attaches from there. */
export interface AiDelta {
  messageId: string;
  aiSessionId?: string | null;
  sessionId?: string | null;
  replyToId?: string | null;
  index: number;
  text: string;
}

/** An answer is complete, or was stopped; `content` is all of it. `unreadable`, as of a message, is for who asks for it once more. */
export interface AiDone {
  messageId: string;
  aiSessionId?: string | null;
  sessionId?: string | null;
  replyToId?: string | null;
  content: string;
  finishReason: string | null;
  usage: AiUsage | null;
  unreadable?: boolean;
}

/** An answer has failed; `partial` is what had come, and is kept; `unreadable` as of its end. */
export interface AiError {
  messageId: string;
  aiSessionId?: string | null;
  sessionId?: string | null;
  replyToId?: string | null;
  code: string;
  message: string;
  partial: string;
  retryable: boolean;
  retryAfterMs?: number | null;
  unreadable?: boolean;
}

/** A question or an answer. An answer is STREAMING while it is under way; COMPLETE; STOPPED by its user; FAILED before any text came; INTERRUPTED with the text that had come. `errorCode` tells why of the last two. `unreadable` is as of a message: `content` is empty then. */
export interface AiMessage {
  id: string;
  aiSessionId: string;
  seq: number;
  role: "USER" | "ASSISTANT";
  status: "STREAMING" | "COMPLETE" | "STOPPED" | "FAILED" | "INTERRUPTED";
  content: string;
  createdAt: string;
  clientMsgId: string | null;
  model: string | null;
  finishReason: string | null;
  errorCode: string | null;
  usage: AiUsage | null;
  unreadable?: boolean;
}

/** Page through a conversation: the newest messages, or those below a `seq`. */
export interface AiMessageList {
  aiSessionId: string;
  beforeSeq?: number | null;
  limit?: number;
}

/** Messages of a conversation, oldest first. */
export interface AiMessagePage {
  messages: Array<AiMessage>;
  hasBefore: boolean;
}

/** Names an answer: of the caller's, or of a session that they are in. */
export interface AiMessageRef {
  messageId: string;
}

/** Ask; a repeat with the same `clientMsgId` answers what was asked. */
export interface AiSend {
  aiSessionId: string;
  content: string;
  clientMsgId?: string | null;
}

/** The stored question, and the id of the answer that is under way. `duplicate` tells that it was asked before this call. */
export interface AiSent {
  userMessage: AiMessage;
  messageId: string;
  duplicate: boolean;
}

/** A conversation of the caller with the assistant; `runningId` is the answer under way. `unreadable` is there only when it is true: title or system prompt, then empty, are encrypted at rest, and this server cannot decrypt them. */
export interface AiSession {
  id: string;
  title: string | null;
  model: string;
  systemPrompt: string | null;
  createdAt: string;
  activeAt: string;
  runningId: string | null;
  unreadable?: boolean;
}

/** One conversation. */
export interface AiSessionAnswer {
  aiSession: AiSession;
}

/** Begin a conversation; without a title it gets one after its first answer. */
export interface AiSessionCreate {
  title?: string | null;
  model?: string | null;
  systemPrompt?: string | null;
}

/** Page through the caller's conversations. */
export interface AiSessionList {
  cursor?: string | null;
  limit?: number;
}

/** Conversations, the latest active first; `nextCursor` is null on the last page. */
export interface AiSessionPage {
  aiSessions: Array<AiSession>;
  nextCursor: string | null;
}

/** Names a conversation; one of somebody else is not found. */
export interface AiSessionRef {
  aiSessionId: string;
}

/** Change what is given, at least one; null takes the system prompt away. */
export interface AiSessionUpdate {
  aiSessionId: string;
  title?: string | null;
  model?: string | null;
  systemPrompt?: string | null;
}

/** An answer begins. */
export interface AiStart {
  messageId: string;
  aiSessionId?: string | null;
  sessionId?: string | null;
  replyToId?: string | null;
  model: string;
}

/** A conversation of the receiver has another title, model or system prompt. */
export interface AiUpdated {
  aiSession: AiSession;
}

/** Tokens that an answer has cost; estimated where the provider does not say. */
export interface AiUsage {
  promptTokens: number;
  completionTokens: number;
  estimated: boolean;
}

/** An API token; `userId` is whom it speaks for, `lastUsedAt` is exact to a minute. */
export interface ApiToken {
  id: string;
  userId: string;
  name: string;
  scopes: Array<"read" | "write" | "manage">;
  createdAt: string;
  expiresAt: string | null;
  lastUsedAt: string | null;
}

/** Make an API token of the caller, or of a bot of the caller's. */
export interface ApiTokenCreate {
  name: string;
  scopes: Array<"read" | "write" | "manage">;
  expiresAt?: string | null;
  botId?: string | null;
}

/** A new API token; `token` is not shown again. */
export interface ApiTokenMade {
  token: string;
  apiToken: ApiToken;
}

/** Names an API token. */
export interface ApiTokenRef {
  tokenId: string;
}

/** The API tokens of the caller and of the caller's bots, the newest first. */
export interface ApiTokens {
  tokens: Array<ApiToken>;
}

/** A file of a message; `width` and `height` are those of an image, as it is to be shown. Its bytes are at `/files/{id}`, a small picture of an image with `hasThumbnail` at `/files/{id}/thumbnail`: both for who is a member then. */
export interface Attachment {
  id: string;
  name: string;
  size: number;
  mimeType: string;
  width: number | null;
  height: number | null;
  hasThumbnail: boolean;
}

/** One act: what, when, and from which network address. */
export interface AuditEntry {
  at: string;
  action: string;
  address: string | null;
  details: Record<string, unknown>;
}

/** Page through what was done to the caller's account. */
export interface AuditList {
  cursor?: string | null;
  limit?: number;
}

/** Acts, the newest first; `nextCursor` is null on the last page. */
export interface AuditPage {
  entries: Array<AuditEntry>;
  nextCursor: string | null;
}

/** The access token of this socket expires soon. */
export interface AuthExpiring {
  expiresAt: string;
  inMs: number;
}

/** Renew the access token of a live socket. */
export interface AuthRefresh {
  accessToken: string;
}

/** How long the live socket is now good for. */
export interface AuthRefreshed {
  expiresAt: string;
}

/** Who is kept out, by whom, since when and until when; null: until it is lifted. */
export interface Ban {
  user: User;
  by: string;
  createdAt: string;
  until: string | null;
  reason: string | null;
}

/** The ban as it stands. */
export interface BanAnswer {
  ban: Ban;
}

/** Page through the bans in force. */
export interface BanList {
  sessionId: string;
  after?: string | null;
  limit?: number;
}

/** Bans by rising user id; `nextAfter` is null on the last page. */
export interface BanPage {
  bans: Array<Ban>;
  nextAfter: string | null;
}

/** A bot. */
export interface BotAnswer {
  user: User;
}

/** Make a bot: an account that only API tokens speak for. */
export interface BotCreate {
  name: string;
}

/** Names a bot of the caller. */
export interface BotRef {
  userId: string;
}

/** The caller's bots, the oldest first. */
export interface Bots {
  bots: Array<User>;
}

/** Last event of a connection that the server ends. */
export interface ConnectionClosing {
  code: number;
  reason: string;
  reconnect: boolean;
  retryAfterMs?: number | null;
}

/** First event of every connection. `presence` is of those in scope who are there, at most 200: who is not in it is not there, or not known. It takes the place of all that the client knew before. `expiresAt` is null with an API token that does not expire. */
export interface ConnectionReady {
  connectionId: string;
  deviceId: string;
  serverTime: string;
  recovered: boolean;
  expiresAt: string | null;
  epoch: string;
  limits: Record<string, number>;
  timings: Record<string, number>;
  sessions: Array<Position>;
  status: OwnStatus;
  presence: Array<Presence>;
}

/** A device with an open login of the caller; `isCurrent` is the one that asks. */
export interface Device {
  id: string;
  name: string;
  address: string;
  createdAt: string;
  lastUsedAt: string;
  isCurrent: boolean;
}

/** Names a device of the caller. */
export interface DeviceRef {
  deviceId: string;
}

/** The devices with an open login, the last used first. */
export interface Devices {
  devices: Array<Device>;
}

/** The message as it is now; `ignoredMentions`, absent when there are none, are no members. */
export interface EditAnswer {
  message: Message;
  ignoredMentions?: Array<string>;
}

/** Ask for another address; an account without a password gives none. */
export interface EmailChange {
  email: string;
  password?: string | null;
}

/** The address that the account has, verified, from now on. */
export interface EmailVerified {
  email: string;
}

/** Use the link of a mail that shows that an address is read. */
export interface EmailVerify {
  token: string;
}

/** What REST answers to a call that is refused. */
export interface ErrorAnswer {
  error: Refusal;
}

/** Exchange the one-time code of a sign-in for a token pair. */
export interface Exchange {
  code: string;
}

/** What is on here and what is off: a front end shows no button that leads nowhere. */
export interface Features {
  registration: boolean;
  google: boolean;
  mail: boolean;
  emailVerification: "off" | "optional" | "required";
  ai: boolean;
  files: boolean;
  fileLimits: FileLimits | null;
  search: boolean;
}

/** A file that is complete, as a message will hold it. */
export interface FileAnswer {
  file: Attachment;
}

/** Promise a file for a session; without `sessionId` it is to become the caller's avatar. */
export interface FileCreate {
  fileName: string;
  size: number;
  /** without parameters */
  mimeType: string;
  sessionId?: string | null;
}

/** A promise: upload before `expiresAt`, then say that it is complete. */
export interface FileCreated {
  fileId: string;
  upload: UploadLink;
  expiresAt: string;
}

/** What a front end can tell before it asks: sizes in bytes. `maxUserBytes` and `maxUserFiles` are of all files of one user. */
export interface FileLimits {
  maxBytes: number;
  maxAttachments: number;
  maxUserBytes: number;
  maxUserFiles: number;
}

/** A link that needs no login, until `expiresAt`: absolute, or a path of this server. */
export interface FileLink {
  url: string;
  expiresAt: string;
}

/** Ask for a link to a file, or to its small picture. */
export interface FileLinkAsk {
  fileId: string;
  thumbnail?: boolean;
}

/** Names a file; one that the caller may not have is not found. */
export interface FileRef {
  fileId: string;
}

/** Names the small picture of an image that has one. */
export interface FileThumbnail {
  fileId: string;
}

/** Page through messages; at most one of the three bounds, the newest page without. */
export interface History {
  sessionId: string;
  beforeSeq?: number | null;
  afterSeq?: number | null;
  aroundId?: string | null;
  limit?: number;
}

/** Messages oldest first, and where the session stands. */
export interface HistoryAnswer {
  messages: Array<Message>;
  hasBefore: boolean;
  hasAfter: boolean;
  epoch: string;
  seq: number;
}

/** A way into a session; null where it has no limit. */
export interface Invite {
  code: string;
  sessionId: string;
  role: "OWNER" | "ADMIN" | "MEMBER" | "READ_ONLY";
  by: string;
  createdAt: string;
  expiresAt: string | null;
  maxUses: number | null;
  uses: number;
}

/** One invite. */
export interface InviteAnswer {
  invite: Invite;
}

/** The live invites of a session. */
export interface InviteList {
  sessionId: string;
}

/** Make a way into a session for everybody who knows its code. */
export interface InviteMake {
  sessionId: string;
  maxUses?: number | null;
  expiresInMs?: number | null;
  role?: "MEMBER" | "READ_ONLY";
}

/** Where an invite leads, for somebody who has not accepted it. */
export interface InvitePreview {
  name: string | null;
  kind: "DIRECT" | "GROUP" | "PUBLIC";
  memberCount: number;
  role: "OWNER" | "ADMIN" | "MEMBER" | "READ_ONLY";
  expiresAt: string | null;
}

/** Names an invite by its code. */
export interface InviteRef {
  code: string;
}

/** End an invite. */
export interface InviteRevoke {
  sessionId: string;
  code: string;
}

/** The live invites, the newest first; there are at most 100. */
export interface Invites {
  invites: Array<Invite>;
}

/** The state of a session at `seq`; every later event follows on the socket. One with more than 200 members has `online`, how many are there, and no `presence`. */
export interface Joined {
  sessionId: string;
  epoch: string;
  seq: number;
  recovered: boolean;
  messages: Array<Message>;
  hasMore: boolean;
  members: Array<Member>;
  presence: Array<Presence>;
  online?: number | null;
  typing: Array<string>;
  unreadCount: number;
  mentionCount: number;
  lastReadSeq: number;
}

/** The session's `seq` after the change. */
export interface LeftAnswer {
  seq: number;
}

/** Log in with a password. `deviceToken` is what an earlier login on this device answered: with it nobody else's wrong passwords keep the caller out. */
export interface Login {
  email: string;
  password: string;
  deviceToken?: string | null;
}

/** Go on with a login that was refused with `second_factor_required`. */
export interface LoginTotp {
  code?: string | null;
  recoveryCode?: string | null;
  challenge: string;
}

/** The caller's account. */
export interface Me {
  user: Account;
}

/** A user in a session; before `mutedUntil` they may not write. */
export interface Member {
  user: User;
  role: "OWNER" | "ADMIN" | "MEMBER" | "READ_ONLY";
  joinedAt: string;
  mutedUntil?: string | null;
}

/** One member and the session's `seq` after the change. */
export interface MemberAnswer {
  member: Member;
  seq: number;
}

/** Keep a user out of a session, member or not; without `until` before it is lifted. */
export interface MemberBan {
  sessionId: string;
  userId: string;
  reason?: string | null;
  until?: string | null;
}

/** Somebody is now a member; `by` is who brought them in, if it was not themselves. */
export interface MemberJoined {
  sessionId: string;
  seq: number;
  member: Member;
  by?: string | null;
}

/** Somebody is no longer a member; `by` is who took them out, if it was not themselves. */
export interface MemberLeft {
  sessionId: string;
  seq: number;
  userId: string;
  by?: string | null;
}

/** Page through the members of a session. */
export interface MemberList {
  sessionId: string;
  after?: string | null;
  limit?: number;
}

/** Members by rising user id; `nextAfter` is null on the last page. */
export interface MemberPage {
  members: Array<Member>;
  nextAfter: string | null;
}

/** Names a user in a session; without `userId` the caller. */
export interface MemberRef {
  sessionId: string;
  userId?: string | null;
}

/** Lift a ban. */
export interface MemberUnban {
  sessionId: string;
  userId: string;
}

/** Give a member another role, mute them until a time, or with null no longer. */
export interface MemberUpdate {
  sessionId: string;
  userId: string;
  role?: "OWNER" | "ADMIN" | "MEMBER" | "READ_ONLY" | null;
  mutedUntil?: string | null;
}

/** A member has another role or `mutedUntil`; `by` comes live only, not with what was missed. */
export interface MemberUpdated {
  sessionId: string;
  seq: number;
  member: Member;
  by?: string | null;
}

/** A message; `seq` orders it within its session, `createdAt` never does. One that was never changed has none of the fields with a default, one that was has them all: `changedSeq` is the `seq` of its last change. `unreadable` is there only when it is true: the text is encrypted at rest, and this server cannot decrypt it; `content` is empty then. */
export interface Message {
  id: string;
  sessionId: string;
  seq: number;
  sender: User;
  content: string;
  createdAt: string;
  clientMsgId: string | null;
  replyTo: Reply | null;
  mentions: Array<string> | "ALL";
  attachments: Array<Attachment>;
  changedSeq?: number | null;
  version?: number;
  editedAt?: string | null;
  deletedAt?: string | null;
  deletedBy?: string | null;
  pinnedAt?: string | null;
  pinnedBy?: string | null;
  reactions?: Array<Reaction>;
  unreadable?: boolean;
}

/** The message as it is now. */
export interface MessageAnswer {
  message: Message;
}

/** Delete a message: a tombstone without content stays in its place. */
export interface MessageDelete {
  messageId: string;
}

/** A message is a tombstone now; `message` comes with what was missed: all of its state. */
export interface MessageDeleted {
  id: string;
  sessionId: string;
  seq: number;
  deletedAt: string;
  deletedBy: string;
  message?: Message | null;
}

/** Replace a message's text, if `expectedVersion` (where given) is the current one. `mentions`, where given, take the place of those there were. */
export interface MessageEdit {
  messageId: string;
  content: string;
  expectedVersion?: number | null;
  mentions?: Array<string> | "ALL" | null;
}

/** Pin a message or take the pin off; a session has at most 50 pins. */
export interface MessagePin {
  messageId: string;
  on: boolean;
}

/** A message was pinned, or its pin taken off: then `pinnedAt` and `pinnedBy` are null. */
export interface MessagePinned {
  sessionId: string;
  id: string;
  seq: number;
  pinnedAt: string | null;
  pinnedBy: string | null;
  on: boolean;
}

/** Give a reaction or take it back; a message takes at most 20 different emoji. */
export interface MessageReact {
  messageId: string;
  emoji: string;
  on: boolean;
}

/** Somebody reacted or took it back; `count` and `userIds` are what this emoji has now. */
export interface MessageReaction {
  sessionId: string;
  messageId: string;
  seq: number;
  emoji: string;
  count: number;
  userIds: Array<string>;
  userId: string;
  on: boolean;
}

/** Move the caller's read marker forward; `private` tells the caller's own devices only. */
export interface MessageRead {
  sessionId: string;
  seq: number;
  private?: boolean;
}

/** Find messages; `from` names a sender, `after` (with it) and `before` (without) are times. */
export interface MessageSearch {
  q: string;
  sessionId?: string | null;
  from?: string | null;
  after?: string | null;
  before?: string | null;
  cursor?: string | null;
  limit?: number;
}

/** Send a message; a repeat with the same `clientMsgId` answers what is stored. `attachments` are complete files of the caller in this session, each in one message; beside them `content` may be empty. */
export interface MessageSend {
  sessionId: string;
  attachments?: Array<string>;
  content?: string;
  clientMsgId?: string | null;
  replyToId?: string | null;
  mentions?: Array<string> | "ALL";
  deadlineMs?: number | null;
}

/** Set the caller's read marker back: the message at `seq` is the first unread one. */
export interface MessageUnread {
  sessionId: string;
  seq: number;
}

/** A message has a new text; `message` comes with what was missed: all of its state. */
export interface MessageUpdated {
  id: string;
  sessionId: string;
  seq: number;
  version: number;
  content: string;
  mentions: Array<string> | "ALL";
  editedAt: string | null;
  message?: Message | null;
}

/** No fields. */
export interface Nothing {
}

/** Somebody mentions the receiver; `seq` is the place of the message. */
export interface NotificationNew {
  sessionId: string;
  type: "MENTION";
  messageId: string;
  seq: number;
  from: User;
  excerpt: string;
}

/** What the caller has set; ONLINE is nothing. */
export interface OwnStatus {
  status: "ONLINE" | "BUSY" | "INVISIBLE";
  text: string | null;
  until: string | null;
}

/** Change the password; an account without one gives none, and has one from now on. */
export interface PasswordChange {
  newPassword: string;
  password?: string | null;
}

/** Ask for a mail whose link sets a new password. */
export interface PasswordForgot {
  email: string;
}

/** Set a new password with the link of a mail. */
export interface PasswordReset {
  token: string;
  password: string;
}

/** Read what is pinned in a session. */
export interface PinList {
  sessionId: string;
}

/** The pinned messages, the newest pin first. */
export interface PinListAnswer {
  messages: Array<Message>;
}

/** Where the caller stands in one session. */
export interface Position {
  sessionId: string;
  epoch: string;
  seq: number;
  unreadCount: number;
  mentionCount: number;
  lastReadSeq: number;
}

/** What the caller wishes for a session in their own list. */
export interface Prefs {
  sessionId: string;
  muted: boolean;
  favourite: boolean;
}

/** Whether a user is there; `lastSeen` is null for somebody never seen. */
export interface Presence {
  userId: string;
  status: string;
  lastSeen: string | null;
  text: string | null;
}

/** One emoji under a message; `userIds` are the first 20 who reacted, the earliest first. */
export interface Reaction {
  emoji: string;
  count: number;
  userIds: Array<string>;
}

/** How far somebody has read; the reader's own devices are told the counts as well. */
export interface ReadMarker {
  sessionId: string;
  userId: string;
  seq: number;
  readAt: string;
  unreadCount?: number | null;
  mentionCount?: number | null;
  markedUnread?: boolean | null;
}

/** Codes that stand in for the authenticator, each once; they are not shown again. */
export interface RecoveryCodes {
  recoveryCodes: Array<string>;
}

/** Exchange a refresh token for a new pair. */
export interface Refresh {
  refreshToken: string;
}

/** Why a call was refused; clients branch on `code`, never on `message`. */
export interface Refusal {
  code: "conflict" | "deadline_exceeded" | "draining" | "forbidden" | "idempotency_conflict" | "internal" | "muted" | "not_a_member" | "not_found" | "overloaded" | "payload_too_large" | "rate_limited" | "second_factor_required" | "session_read_only" | "slow_mode" | "token_expired" | "unauthorized" | "unavailable" | "validation_failed";
  message: string;
  retryable: boolean;
  requestId: string;
  retryAfterMs?: number | null;
  details?: Record<string, unknown> | null;
}

/** Open an account. */
export interface Register {
  email: string;
  password: string;
  name?: string | null;
}

/** The message that another answers; `excerpt` is of then, and null when it is deleted. */
export interface Reply {
  id: string;
  seq: number;
  sender: User;
  excerpt: string | null;
}

/** A request over Socket.IO that asked for no ack was refused. */
export interface RequestFailed {
  event: string;
  error: Refusal;
}

/** An earlier text of a message; `createdAt` is when it was written. */
export interface Revision {
  version: number;
  content: string;
  unreadable?: boolean;
  createdAt: string;
}

/** Page through the earlier texts of a message. */
export interface RevisionList {
  messageId: string;
  beforeVersion?: number | null;
  limit?: number;
}

/** Earlier texts, the newest first. */
export interface RevisionPage {
  messageId: string;
  revisions: Array<Revision>;
  hasMore: boolean;
}

/** What was found, newest first; `nextCursor` is null on the last page. */
export interface SearchPage {
  results: Array<SearchResult>;
  nextCursor: string | null;
}

/** A message that was found. */
export interface SearchResult {
  message: Message;
  snippet: Snippet;
}

/** The stored message; `duplicate` tells that it was stored before this call. `ignoredMentions`, absent when there are none, are no members of the session. */
export interface SendAnswer {
  message: Message;
  duplicate: boolean;
  ignoredMentions?: Array<string>;
}

/** The server is going down; connections close evenly until the deadline. */
export interface ServerDraining {
  deadline: string;
}

/** A chat room as stored. */
export interface Session {
  id: string;
  kind: "DIRECT" | "GROUP" | "PUBLIC";
  name: string | null;
  seq: number;
  memberCount: number;
  createdAt: string;
  readOnly: boolean;
  archivedAt: string | null;
  slowModeSeconds: number;
}

/** One session. */
export interface SessionAnswer {
  session: Session;
}

/** Who did what to whom; `details` depend on the action. */
export interface SessionAuditEntry {
  id: number;
  at: string;
  action: string;
  userId: string;
  targetId: string | null;
  details: Record<string, unknown>;
}

/** Page through what was done in a session, the latest first. */
export interface SessionAuditList {
  sessionId: string;
  before?: number | null;
  limit?: number;
}

/** Entries, the latest first; `nextBefore` is null on the last page. */
export interface SessionAuditPage {
  entries: Array<SessionAuditEntry>;
  nextBefore: number | null;
}

/** Open a session; a DIRECT one takes exactly one other member and is unique. */
export interface SessionCreate {
  kind: "DIRECT" | "GROUP" | "PUBLIC";
  name?: string | null;
  memberIds?: Array<string>;
}

/** Delete a session with everything in it. */
export interface SessionDelete {
  sessionId: string;
}

/** How far each joined session was sent on this socket; a client behind that joins again. */
export interface SessionHeartbeat {
  positions: Record<string, number>;
}

/** Receive a session's events on this socket, from a position where one is given. */
export interface SessionJoin {
  sessionId: string;
  since?: Since | null;
  limit?: number;
}

/** Page through the caller's sessions. */
export interface SessionList {
  cursor?: string | null;
  limit?: number;
}

/** The caller's sessions, latest activity first; `nextCursor` is null on the last page. */
export interface SessionPage {
  sessions: Array<SessionSummary>;
  nextCursor: string | null;
}

/** Set what the caller wishes for their own list: at least one wish. */
export interface SessionPrefs {
  sessionId: string;
  muted?: boolean | null;
  favourite?: boolean | null;
}

/** How many are there in a large session, instead of the `user:status` of its members. */
export interface SessionPresence {
  sessionId: string;
  online: number;
}

/** Names a session. */
export interface SessionRef {
  sessionId: string;
}

/** The receiver is no longer in this session: its stream ends here. */
export interface SessionRemoved {
  sessionId: string;
  reason: "removed" | "banned" | "deleted" | "left";
}

/** A line of the caller's session list. */
export interface SessionSummary {
  id: string;
  kind: "DIRECT" | "GROUP" | "PUBLIC";
  name: string | null;
  seq: number;
  memberCount: number;
  createdAt: string;
  readOnly: boolean;
  archivedAt: string | null;
  slowModeSeconds: number;
  role: "OWNER" | "ADMIN" | "MEMBER" | "READ_ONLY";
  lastMessage: Message | null;
  unreadCount: number;
  mentionCount: number;
  lastReadSeq: number;
  muted: boolean;
  markedUnread: boolean;
  favourite: boolean;
}

/** What is unread in a session that this socket has not joined: absolute values. */
export interface SessionUnread {
  sessionId: string;
  unreadCount: number;
  mentionCount: number;
  lastReadSeq: number;
  lastMessage: Message | null;
}

/** Set what is given: at least one setting. */
export interface SessionUpdate {
  sessionId: string;
  name?: string | null;
  readOnly?: boolean | null;
  archived?: boolean | null;
  slowModeSeconds?: number | null;
}

/** A session changed. */
export interface SessionUpdated {
  sessionId: string;
  seq: number;
  session: Session;
}

/** What the issuer sends a browser back with; issuers add parameters of their own. */
export interface SignInReturn {
  state: string;
  code?: string | null;
  error?: string | null;
  iss?: string | null;
}

/** Begin a sign-in; `next` is the page of this server that it leads to. */
export interface SignInStart {
  next?: string;
}

/** The position that a client has reached. */
export interface Since {
  epoch: string;
  seq: number;
}

/** The text around the first hit; hits are [start, end) in UTF-16 units of `text`. */
export interface Snippet {
  text: string;
  hits: Array<Array<number>>;
}

/** The caller's presence as others see it now. */
export interface StatusAnswer {
  presence: Presence;
}

/** Ask who of these is there. */
export interface StatusQuery {
  userIds: Array<string>;
}

/** Set the caller's status: ONLINE clears a manual one, AWAY is this device's. */
export interface StatusSet {
  status: "ONLINE" | "AWAY" | "BUSY" | "INVISIBLE";
  text?: string | null;
  until?: string | null;
}

/** Who is there, in the order asked for; who may not be seen is OFFLINE and was never seen. */
export interface Statuses {
  presence: Array<Presence>;
}

/** A login: the account and its token pair; `deviceToken` is worth keeping over a logout. */
export interface Tokens {
  user: Account;
  accessToken: string;
  refreshToken: string;
  expiresAt: string;
  deviceId: string;
  deviceToken: string;
}

/** Set up a second factor; it counts when it is confirmed. */
export interface TotpBegin {
  password: string;
}

/** What an authenticator wants: the secret in base32, or the URI as a QR code. */
export interface TotpBegun {
  secret: string;
  uri: string;
}

/** Confirm the second factor with a code of the authenticator. */
export interface TotpConfirm {
  code: string;
}

/** The password and the second factor, once more. */
export interface TotpProved {
  code?: string | null;
  recoveryCode?: string | null;
  password: string;
}

/** Whether a login of the caller asks for a code, since when, and what is left beside it. */
export interface TotpState {
  enabled: boolean;
  confirmedAt: string | null;
  recoveryCodesLeft: number;
}

/** Where the bytes go: exactly `size` of them, with exactly these headers. `url` is absolute, or a path of this server. */
export interface UploadLink {
  url: string;
  method: "PUT";
  headers: Record<string, string>;
}

/** A user as others see them; `avatarColor` is for where no picture is shown. `isBot` is there, and true, when a program speaks: people's have none. */
export interface User {
  id: string;
  name: string;
  avatarUrl: string | null;
  avatarColor: string;
  isBot?: boolean;
}

/** One user. */
export interface UserAnswer {
  user: User;
}

/** End the caller's account; what they wrote stays without a name, or is deleted. An account without a password gives none: its login is not older than five minutes. */
export interface UserErase {
  messages: "KEEP_ANONYMOUS" | "DELETE";
  password?: string | null;
}

/** Find users by a part of their name or a whole e-mail address; without `query` everybody. */
export interface UserList {
  query?: string;
  cursor?: string | null;
  limit?: number;
}

/** Users found, names that begin with the query first; `nextCursor` is null on the last page. */
export interface UserPage {
  users: Array<User>;
  nextCursor: string | null;
}

/** Names a user. */
export interface UserRef {
  userId: string;
}

/** Somebody types, or no longer. */
export interface UserTyping {
  sessionId: string;
  userId: string;
  isTyping: boolean;
  expiresInMs: number;
}

/** Change the caller's name or avatar: a picture elsewhere, a colour, or a file. Null takes back whichever there is. The file is an image of the caller's, of no session. */
export interface UserUpdate {
  name?: string | null;
  avatarUrl?: string | null;
  avatarColor?: string | null;
  avatarFileId?: string | null;
}

/** A user who shares a session with the receiver, or the receiver, has a new name or avatar. */
export interface UserUpdated {
  user: User;
}

/** What a client emits. */
export interface ClientEvents {
  /** Renew the token of a live socket. */
  "auth:refresh": (data: AuthRefresh, ack: (answer: Ack<AuthRefreshed>) => void) => void;
  /** The devices on which the caller is logged in. */
  "device:list": (data: Nothing, ack: (answer: Ack<Devices>) => void) => void;
  /** End the login of a device. */
  "device:remove": (data: DeviceRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** Users by a part of their name, or by their whole e-mail address. */
  "user:list": (data: UserList, ack: (answer: Ack<UserPage>) => void) => void;
  /** One user. */
  "user:get": (data: UserRef, ack: (answer: Ack<UserAnswer>) => void) => void;
  /** Change the caller's name or avatar. */
  "user:update": (data: UserUpdate, ack: (answer: Ack<Me>) => void) => void;
  /** What was done to the caller's account, and from where. */
  "user:audit": (data: AuditList, ack: (answer: Ack<AuditPage>) => void) => void;
  /** Open a session. */
  "session:create": (data: SessionCreate, ack: (answer: Ack<SessionAnswer>) => void) => void;
  /** The caller's sessions, latest activity first. */
  "session:list": (data: SessionList, ack: (answer: Ack<SessionPage>) => void) => void;
  /** One session. */
  "session:get": (data: SessionRef, ack: (answer: Ack<SessionAnswer>) => void) => void;
  /** Receive a session's events on this socket. */
  "session:join": (data: SessionJoin, ack: (answer: Ack<Joined>) => void) => void;
  /** Stop a session's events on this socket. */
  "session:leave": (data: SessionRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** Change a session's name, or who may write in it. */
  "session:update": (data: SessionUpdate, ack: (answer: Ack<SessionAnswer>) => void) => void;
  /** Delete a session with everything in it. */
  "session:delete": (data: SessionDelete, ack: (answer: Ack<Nothing>) => void) => void;
  /** What the caller wishes for a session in their own list. */
  "session:prefs": (data: SessionPrefs, ack: (answer: Ack<Prefs>) => void) => void;
  /** Members of a session. */
  "member:list": (data: MemberList, ack: (answer: Ack<MemberPage>) => void) => void;
  /** Add a member; the caller to a PUBLIC session without userId. */
  "member:add": (data: MemberRef, ack: (answer: Ack<MemberAnswer>) => void) => void;
  /** Give a member another role, or mute them. */
  "member:update": (data: MemberUpdate, ack: (answer: Ack<MemberAnswer>) => void) => void;
  /** Leave a session, or remove a member. */
  "member:remove": (data: MemberRef, ack: (answer: Ack<LeftAnswer>) => void) => void;
  /** Keep a user out of a session. */
  "member:ban": (data: MemberBan, ack: (answer: Ack<BanAnswer>) => void) => void;
  /** Lift a ban. */
  "member:unban": (data: MemberUnban, ack: (answer: Ack<Nothing>) => void) => void;
  /** Bans in force in a session. */
  "ban:list": (data: BanList, ack: (answer: Ack<BanPage>) => void) => void;
  /** Make an invite into a session. */
  "invite:make": (data: InviteMake, ack: (answer: Ack<InviteAnswer>) => void) => void;
  /** Live invites into a session. */
  "invite:list": (data: InviteList, ack: (answer: Ack<Invites>) => void) => void;
  /** End an invite. */
  "invite:revoke": (data: InviteRevoke, ack: (answer: Ack<Nothing>) => void) => void;
  /** Where an invite leads. */
  "invite:preview": (data: InviteRef, ack: (answer: Ack<InvitePreview>) => void) => void;
  /** Come into a session by an invite. */
  "invite:accept": (data: InviteRef, ack: (answer: Ack<SessionAnswer>) => void) => void;
  /** What was done in a session, and by whom. */
  "session:audit": (data: SessionAuditList, ack: (answer: Ack<SessionAuditPage>) => void) => void;
  /** Send a message; answered when it is committed. */
  "message:send": (data: MessageSend, ack: (answer: Ack<SendAnswer>) => void) => void;
  /** Messages by keyset, oldest first. */
  "message:history": (data: History, ack: (answer: Ack<HistoryAnswer>) => void) => void;
  /** Replace the text of a message of one's own. */
  "message:edit": (data: MessageEdit, ack: (answer: Ack<EditAnswer>) => void) => void;
  /** Delete a message of one's own, or another's where the role allows it. */
  "message:delete": (data: MessageDelete, ack: (answer: Ack<MessageAnswer>) => void) => void;
  /** React to a message, or take it back. */
  "message:react": (data: MessageReact, ack: (answer: Ack<MessageAnswer>) => void) => void;
  /** Pin a message, or take the pin off. */
  "message:pin": (data: MessagePin, ack: (answer: Ack<MessageAnswer>) => void) => void;
  /** The pinned messages of a session. */
  "message:pins": (data: PinList, ack: (answer: Ack<PinListAnswer>) => void) => void;
  /** The earlier texts of a message, newest first. */
  "message:revisions": (data: RevisionList, ack: (answer: Ack<RevisionPage>) => void) => void;
  /** Move the caller's read marker forward. */
  "message:read": (data: MessageRead, ack: (answer: Ack<Position>) => void) => void;
  /** Mark a session unread from a message on. */
  "message:unread": (data: MessageUnread, ack: (answer: Ack<Position>) => void) => void;
  /** Messages that hold all words, newest first, in the caller's sessions. */
  "message:search": (data: MessageSearch, ack: (answer: Ack<SearchPage>) => void) => void;
  /** Promise a file; the answer says where its bytes go. */
  "file:create": (data: FileCreate, ack: (answer: Ack<FileCreated>) => void) => void;
  /** Say that a file is uploaded; its size, type and first bytes are checked. */
  "file:complete": (data: FileRef, ack: (answer: Ack<FileAnswer>) => void) => void;
  /** A link to a file that needs no login, good for a minute. */
  "file:link": (data: FileLinkAsk, ack: (answer: Ack<FileLink>) => void) => void;
  /** Take back a file of one's own that is attached to nothing. */
  "file:delete": (data: FileRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** Set the caller's status. */
  "status:set": (data: StatusSet, ack: (answer: Ack<StatusAnswer>) => void) => void;
  /** The caller is at this device. */
  "status:active": (data: Nothing, ack: (answer: Ack<Nothing>) => void) => void;
  /** Who of these users is there. */
  "users:status": (data: StatusQuery, ack: (answer: Ack<Statuses>) => void) => void;
  /** The caller types. */
  "typing:start": (data: SessionRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** The caller types no longer. */
  "typing:stop": (data: SessionRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** Begin a conversation with the assistant. */
  "ai:create": (data: AiSessionCreate, ack: (answer: Ack<AiSessionAnswer>) => void) => void;
  /** The caller's conversations with the assistant, latest activity first. */
  "ai:list": (data: AiSessionList, ack: (answer: Ack<AiSessionPage>) => void) => void;
  /** One conversation with the assistant. */
  "ai:get": (data: AiSessionRef, ack: (answer: Ack<AiSessionAnswer>) => void) => void;
  /** Change a conversation's title, model or system prompt. */
  "ai:update": (data: AiSessionUpdate, ack: (answer: Ack<AiSessionAnswer>) => void) => void;
  /** Delete a conversation with everything in it. */
  "ai:delete": (data: AiSessionRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** Messages of a conversation, oldest first. */
  "ai:messages": (data: AiMessageList, ack: (answer: Ack<AiMessagePage>) => void) => void;
  /** Ask the assistant; the answer follows as events. */
  "ai:send": (data: AiSend, ack: (answer: Ack<AiSent>) => void) => void;
  /** Have the last question answered again, in place of its answer. */
  "ai:retry": (data: AiMessageRef, ack: (answer: Ack<AiSent>) => void) => void;
  /** An answer from an index on; sockets hear the rest of one under way. */
  "ai:attach": (data: AiAttach, ack: (answer: Ack<AiAttached>) => void) => void;
  /** End an answer at once; what has come is kept. */
  "ai:stop": (data: AiMessageRef, ack: (answer: Ack<AiAttached>) => void) => void;
}

/** What the server emits. */
export interface ServerEvents {
  /** First event of every connection. */
  "connection:ready": (data: ConnectionReady, offset: string) => void;
  /** Last event of a connection that the server ends. */
  "connection:closing": (data: ConnectionClosing) => void;
  /** A request over Socket.IO that asked for no ack was refused. */
  "request:failed": (data: RequestFailed) => void;
  /** The access token of this socket expires soon. */
  "auth:expiring": (data: AuthExpiring) => void;
  /** The server is going down; connections close evenly until the deadline. */
  "server:draining": (data: ServerDraining) => void;
  /** A message; `seq` orders it within its session, `createdAt` never does. */
  "message:new": (data: Message, offset: string) => void;
  /** A message has a new text; `message` comes with what was missed: all of its state. */
  "message:updated": (data: MessageUpdated, offset: string) => void;
  /** A message is a tombstone now; `message` comes with what was missed: all of its state. */
  "message:deleted": (data: MessageDeleted, offset: string) => void;
  /** Somebody reacted or took it back; `count` and `userIds` are what this emoji has now. */
  "message:reaction": (data: MessageReaction, offset: string) => void;
  /** A message was pinned, or its pin taken off: then `pinnedAt` and `pinnedBy` are null. */
  "message:pinned": (data: MessagePinned, offset: string) => void;
  /** Somebody is now a member; `by` is who brought them in, if it was not themselves. */
  "member:joined": (data: MemberJoined, offset: string) => void;
  /** Somebody is no longer a member; `by` is who took them out, if it was not themselves. */
  "member:left": (data: MemberLeft, offset: string) => void;
  /** A member has another role or `mutedUntil`; `by` comes live only, not with what was missed. */
  "member:updated": (data: MemberUpdated, offset: string) => void;
  /** A session changed. */
  "session:updated": (data: SessionUpdated, offset: string) => void;
  /** The receiver is no longer in this session: its stream ends here. */
  "session:removed": (data: SessionRemoved) => void;
  /** How many are there in a large session, instead of the `user:status` of its members. */
  "session:presence": (data: SessionPresence) => void;
  /** What the caller wishes for a session in their own list. */
  "session:prefs": (data: Prefs) => void;
  /** Whether a user is there; `lastSeen` is null for somebody never seen. */
  "user:status": (data: Presence) => void;
  /** A user who shares a session with the receiver, or the receiver, has a new name or avatar. */
  "user:updated": (data: UserUpdated) => void;
  /** Somebody types, or no longer. */
  "user:typing": (data: UserTyping) => void;
  /** Somebody mentions the receiver; `seq` is the place of the message. */
  "notification:new": (data: NotificationNew) => void;
  /** How far somebody has read; the reader's own devices are told the counts as well. */
  "message:read": (data: ReadMarker) => void;
  /** What is unread in a session that this socket has not joined: absolute values. */
  "session:unread": (data: SessionUnread) => void;
  /** How far each joined session was sent on this socket; a client behind that joins again. */
  "session:heartbeat": (data: SessionHeartbeat) => void;
  /** An answer begins. */
  "ai:start": (data: AiStart) => void;
  /** More of an answer: `text` stands at `index`, in UTF-16 units. */
  "ai:delta": (data: AiDelta) => void;
  /** An answer is complete, or was stopped; `content` is all of it. */
  "ai:done": (data: AiDone) => void;
  /** An answer has failed; `partial` is what had come, and is kept; `unreadable` as of its end. */
  "ai:error": (data: AiError) => void;
  /** A conversation of the receiver has another title, model or system prompt. */
  "ai:updated": (data: AiUpdated) => void;
}
