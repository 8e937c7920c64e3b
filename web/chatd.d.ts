// What chatd's clients say and hear. Made from /asyncapi.json and /openapi.json by `make types`.

/** What an event is acknowledged with; clients branch on `error.code`. */
export type Ack<T> = ({ ok: true } & T) | { ok: false; error: Refusal };

/** A user as they see themselves. */
export interface Account {
  id: string;
  name: string;
  avatarUrl: string | null;
  email: string;
  createdAt: string;
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

/** Last event of a connection that the server ends. */
export interface ConnectionClosing {
  code: number;
  reason: string;
  reconnect: boolean;
  retryAfterMs?: number | null;
}

/** First event of every connection. `presence` is of those in scope who are there, at most 200: who is not in it is not there, or not known. It takes the place of all that the client knew before. */
export interface ConnectionReady {
  connectionId: string;
  deviceId: string;
  serverTime: string;
  recovered: boolean;
  expiresAt: string;
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
  ai: boolean;
  files: boolean;
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

/** Log in with a password. */
export interface Login {
  email: string;
  password: string;
}

/** The caller's account. */
export interface Me {
  user: Account;
}

/** A user in a session. */
export interface Member {
  user: User;
  role: "OWNER" | "ADMIN" | "MEMBER" | "READ_ONLY";
  joinedAt: string;
}

/** One member and the session's `seq` after the change. */
export interface MemberAnswer {
  member: Member;
  seq: number;
}

/** Somebody is now a member, or their role changed. */
export interface MemberJoined {
  sessionId: string;
  seq: number;
  member: Member;
}

/** Somebody is no longer a member. */
export interface MemberLeft {
  sessionId: string;
  seq: number;
  userId: string;
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

/** A message; `seq` orders it within its session, `createdAt` never does. One that was never changed has none of the fields with a default, one that was has them all: `changedSeq` is the `seq` of its last change. */
export interface Message {
  id: string;
  sessionId: string;
  seq: number;
  sender: User;
  content: string;
  createdAt: string;
  clientMsgId: string | null;
  replyTo: null;
  mentions: Array<string>;
  attachments: Array<string>;
  changedSeq?: number | null;
  version?: number;
  editedAt?: string | null;
  deletedAt?: string | null;
  deletedBy?: string | null;
  reactions?: Array<Reaction>;
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

/** Replace a message's text, if `expectedVersion` (where given) is the current one. */
export interface MessageEdit {
  messageId: string;
  content: string;
  expectedVersion?: number | null;
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

/** Move the caller's read marker forward. */
export interface MessageRead {
  sessionId: string;
  seq: number;
}

/** Send a message; a repeat with the same `clientMsgId` answers what is stored. */
export interface MessageSend {
  sessionId: string;
  content: string;
  clientMsgId?: string | null;
}

/** A message has a new text; `message` comes with what was missed: all of its state. */
export interface MessageUpdated {
  id: string;
  sessionId: string;
  seq: number;
  version: number;
  content: string;
  editedAt: string | null;
  message?: Message | null;
}

/** No fields. */
export interface Nothing {
}

/** What the caller has set; ONLINE is nothing. */
export interface OwnStatus {
  status: "ONLINE" | "BUSY" | "INVISIBLE";
  text: string | null;
  until: string | null;
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

/** Exchange a refresh token for a new pair. */
export interface Refresh {
  refreshToken: string;
}

/** Why a call was refused; clients branch on `code`, never on `message`. */
export interface Refusal {
  code: "conflict" | "deadline_exceeded" | "draining" | "forbidden" | "idempotency_conflict" | "internal" | "not_a_member" | "not_found" | "overloaded" | "payload_too_large" | "rate_limited" | "token_expired" | "unauthorized" | "unavailable" | "validation_failed";
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

/** A request over Socket.IO that asked for no ack was refused. */
export interface RequestFailed {
  event: string;
  error: Refusal;
}

/** The stored message; `duplicate` tells that it was stored before this call. */
export interface SendAnswer {
  message: Message;
  duplicate: boolean;
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
}

/** One session. */
export interface SessionAnswer {
  session: Session;
}

/** Open a session; a DIRECT one takes exactly one other member and is unique. */
export interface SessionCreate {
  kind: "DIRECT" | "GROUP" | "PUBLIC";
  name?: string | null;
  memberIds?: Array<string>;
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
  reason: string;
}

/** Rename a session. */
export interface SessionRename {
  sessionId: string;
  name: string;
}

/** A line of the caller's session list. */
export interface SessionSummary {
  id: string;
  kind: "DIRECT" | "GROUP" | "PUBLIC";
  name: string | null;
  seq: number;
  memberCount: number;
  createdAt: string;
  role: "OWNER" | "ADMIN" | "MEMBER" | "READ_ONLY";
  lastMessage: Message | null;
  unreadCount: number;
  mentionCount: number;
  lastReadSeq: number;
  muted: boolean;
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

/** A login: the account and its token pair. */
export interface Tokens {
  user: Account;
  accessToken: string;
  refreshToken: string;
  expiresAt: string;
  deviceId: string;
}

/** A user as others see them. */
export interface User {
  id: string;
  name: string;
  avatarUrl: string | null;
}

/** One user. */
export interface UserAnswer {
  user: User;
}

/** Find somebody; `query` is their whole e-mail address. */
export interface UserQuery {
  query: string;
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

/** The users found. */
export interface Users {
  users: Array<User>;
}

/** What a client emits. */
export interface ClientEvents {
  /** Renew the token of a live socket. */
  "auth:refresh": (data: AuthRefresh, ack: (answer: Ack<AuthRefreshed>) => void) => void;
  /** The devices on which the caller is logged in. */
  "device:list": (data: Nothing, ack: (answer: Ack<Devices>) => void) => void;
  /** End the login of a device. */
  "device:remove": (data: DeviceRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** The user with an e-mail address. */
  "user:find": (data: UserQuery, ack: (answer: Ack<Users>) => void) => void;
  /** One user. */
  "user:get": (data: UserRef, ack: (answer: Ack<UserAnswer>) => void) => void;
  /** Open a session. */
  "session:create": (data: SessionCreate, ack: (answer: Ack<SessionAnswer>) => void) => void;
  /** The caller's sessions, latest activity first. */
  "session:list": (data: SessionList, ack: (answer: Ack<SessionPage>) => void) => void;
  /** One session. */
  "session:get": (data: SessionRef, ack: (answer: Ack<SessionAnswer>) => void) => void;
  /** Rename a session. */
  "session:update": (data: SessionRename, ack: (answer: Ack<SessionAnswer>) => void) => void;
  /** Receive a session's events on this socket. */
  "session:join": (data: SessionJoin, ack: (answer: Ack<Joined>) => void) => void;
  /** Stop a session's events on this socket. */
  "session:leave": (data: SessionRef, ack: (answer: Ack<Nothing>) => void) => void;
  /** Members of a session. */
  "member:list": (data: MemberList, ack: (answer: Ack<MemberPage>) => void) => void;
  /** Add a member; the caller to a PUBLIC session without userId. */
  "member:add": (data: MemberRef, ack: (answer: Ack<MemberAnswer>) => void) => void;
  /** Leave a session, or remove a member. */
  "member:remove": (data: MemberRef, ack: (answer: Ack<LeftAnswer>) => void) => void;
  /** Send a message; answered when it is committed. */
  "message:send": (data: MessageSend, ack: (answer: Ack<SendAnswer>) => void) => void;
  /** Messages by keyset, oldest first. */
  "message:history": (data: History, ack: (answer: Ack<HistoryAnswer>) => void) => void;
  /** Move the caller's read marker forward. */
  "message:read": (data: MessageRead, ack: (answer: Ack<Position>) => void) => void;
  /** Replace the text of a message of one's own. */
  "message:edit": (data: MessageEdit, ack: (answer: Ack<MessageAnswer>) => void) => void;
  /** Delete a message of one's own, or another's where the role allows it. */
  "message:delete": (data: MessageDelete, ack: (answer: Ack<MessageAnswer>) => void) => void;
  /** React to a message, or take it back. */
  "message:react": (data: MessageReact, ack: (answer: Ack<MessageAnswer>) => void) => void;
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
  /** Somebody is now a member, or their role changed. */
  "member:joined": (data: MemberJoined, offset: string) => void;
  /** Somebody is no longer a member. */
  "member:left": (data: MemberLeft, offset: string) => void;
  /** A session changed. */
  "session:updated": (data: SessionUpdated, offset: string) => void;
  /** The receiver is no longer in this session: its stream ends here. */
  "session:removed": (data: SessionRemoved) => void;
  /** How many are there in a large session, instead of the `user:status` of its members. */
  "session:presence": (data: SessionPresence) => void;
  /** Whether a user is there; `lastSeen` is null for somebody never seen. */
  "user:status": (data: Presence) => void;
  /** Somebody types, or no longer. */
  "user:typing": (data: UserTyping) => void;
}
