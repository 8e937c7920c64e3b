/** What the server says, put into the stores. */
import { useAuth } from "@/stores/auth";
import {
  dropSession,
  patchRoom,
  patchSession,
  patchTimeline,
  placeSession,
  roomOf,
  useChat,
} from "@/stores/chat";
import { onlineHeard, presenceHeard, presenceReady, typingHeard } from "@/stores/presence";
import {
  advanced,
  withDeletion,
  withPin,
  withReaction,
  withStored,
  withUpdate,
  type Timeline,
} from "@/stores/timeline";
import { loadSessions, rejoin, repairRoom } from "./rooms";
import { flushUnsent, settleSent } from "./sending";
import type { ChatSocket } from "./socket";
import type { Member, Message, User } from "./types";

/** Apply a durable event: each comes once and in its order, and a hole is asked for. */
function apply(sessionId: string, seq: number, change: (timeline: Timeline) => Timeline): void {
  const room = roomOf(sessionId);
  if (!room.isJoined) return;
  const next = advanced(room.timeline, seq);
  if (next === null) repairRoom(sessionId);
  else patchRoom(sessionId, { timeline: change(next) });
}

function heardMessage(message: Message): void {
  const { sessionId, seq } = message;
  apply(sessionId, seq, (timeline) => (timeline.hasAfter ? timeline : withStored(timeline, [message])));
  settleSent(message);
  const session = useChat.getState().sessions[sessionId];
  if (!session) {
    void loadSessions();
    return;
  }
  const ownId = useAuth.getState().account?.id ?? "";
  const isOwn = message.sender.id === ownId;
  const isPinging = message.mentions === "ALL" || message.mentions.includes(ownId);
  const last = session.lastMessage;
  patchSession(sessionId, {
    lastMessage: last && last.seq > seq ? last : message, // what was missed comes in the order of its changes
    seq: Math.max(seq, session.seq),
    ...(isOwn ? {} : { unreadCount: session.unreadCount + 1 }),
    ...(isOwn || !isPinging ? {} : { mentionCount: session.mentionCount + 1 }),
  });
  typingHeard({ sessionId, userId: message.sender.id, isTyping: false, expiresInMs: 0 });
}

function member(sessionId: string, seq: number, told: Member): void {
  apply(sessionId, seq, (timeline) => timeline);
  patchRoom(sessionId, { members: { ...roomOf(sessionId).members, [told.user.id]: told } });
  if (told.user.id === useAuth.getState().account?.id) patchSession(sessionId, { role: told.role });
}

/** A person has another name or picture: everywhere at once. */
function renamed(user: User): void {
  for (const [sessionId, room] of Object.entries(useChat.getState().rooms)) {
    const known = room.members[user.id];
    if (known) patchRoom(sessionId, { members: { ...room.members, [user.id]: { ...known, user } } });
    patchTimeline(sessionId, (timeline) => ({
      ...timeline,
      rows: timeline.rows.map((row) =>
        row.message.sender.id === user.id ? { ...row, message: { ...row.message, sender: user } } : row,
      ),
    }));
  }
  const account = useAuth.getState().account;
  if (account?.id === user.id) useAuth.setState({ account: { ...account, ...user } });
}

/** Hear everything that the server says on a socket. */
export function bindEvents(socket: ChatSocket): void {
  socket.on("connection:ready", (ready) => {
    presenceReady(ready);
    rejoin(ready.sessions, ready.recovered);
    void flushUnsent();
  });
  socket.on("message:new", heardMessage);
  socket.on("message:updated", (event) => {
    apply(event.sessionId, event.seq, (timeline) => withUpdate(timeline, event));
    lastChanged(event.sessionId, event.id, { content: event.content });
  });
  socket.on("message:deleted", (event) => {
    apply(event.sessionId, event.seq, (timeline) => withDeletion(timeline, event));
    lastChanged(event.sessionId, event.id, { content: "", deletedAt: event.deletedAt });
  });
  socket.on("message:reaction", (event) => {
    apply(event.sessionId, event.seq, (timeline) => withReaction(timeline, event));
  });
  socket.on("message:pinned", (event) => {
    apply(event.sessionId, event.seq, (timeline) => withPin(timeline, event));
  });
  socket.on("message:read", (marker) => {
    if (marker.userId === useAuth.getState().account?.id) {
      const { sessionId, seq, unreadCount, mentionCount } = marker;
      placeSession({
        sessionId,
        epoch: "",
        seq,
        lastReadSeq: seq,
        unreadCount: unreadCount ?? 0,
        mentionCount: mentionCount ?? 0,
      });
      patchSession(sessionId, { markedUnread: marker.markedUnread ?? false });
      return;
    }
    const { markers } = roomOf(marker.sessionId);
    patchRoom(marker.sessionId, { markers: { ...markers, [marker.userId]: marker.seq } });
  });
  socket.on("session:unread", (event) => {
    const { sessionId, unreadCount, mentionCount, lastReadSeq, lastMessage } = event;
    if (!useChat.getState().sessions[sessionId]) void loadSessions();
    else patchSession(sessionId, { unreadCount, mentionCount, lastReadSeq, lastMessage });
  });
  bindMembers(socket);
  socket.on("session:heartbeat", ({ positions }) => {
    for (const [sessionId, seq] of Object.entries(positions)) {
      const room = roomOf(sessionId);
      if (room.isJoined && room.timeline.seq < seq) repairRoom(sessionId);
    }
  });
  socket.on("user:status", presenceHeard);
  socket.on("user:updated", ({ user }) => renamed(user));
  socket.on("user:typing", typingHeard);
  socket.on("session:presence", ({ sessionId, online }) => onlineHeard(sessionId, online));
}

function lastChanged(sessionId: string, id: string, change: Partial<Message>): void {
  const last = useChat.getState().sessions[sessionId]?.lastMessage;
  if (last?.id === id) patchSession(sessionId, { lastMessage: { ...last, ...change } });
}

function bindMembers(socket: ChatSocket): void {
  socket.on("member:joined", (event) => {
    member(event.sessionId, event.seq, event.member);
    const session = useChat.getState().sessions[event.sessionId];
    if (session) patchSession(event.sessionId, { memberCount: session.memberCount + 1 });
  });
  socket.on("member:updated", (event) => member(event.sessionId, event.seq, event.member));
  socket.on("member:left", ({ sessionId, seq, userId }) => {
    apply(sessionId, seq, (timeline) => timeline);
    const { [userId]: _, ...members } = roomOf(sessionId).members;
    patchRoom(sessionId, { members });
    const session = useChat.getState().sessions[sessionId];
    if (session) patchSession(sessionId, { memberCount: session.memberCount - 1 });
  });
  socket.on("session:updated", ({ sessionId, seq, session }) => {
    apply(sessionId, seq, (timeline) => timeline);
    // An unknown one is new: somebody has brought us in.
    if (useChat.getState().sessions[sessionId]) patchSession(sessionId, session);
    else void loadSessions();
  });
  socket.on("session:removed", ({ sessionId }) => dropSession(sessionId));
  socket.on("session:prefs", ({ sessionId, muted, favourite }) => {
    patchSession(sessionId, { muted, favourite });
  });
}

