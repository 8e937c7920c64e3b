import { create } from "zustand";
import type { Member, Message, Position, SessionSummary } from "@/lib/types";
import { EMPTY, type Timeline } from "./timeline";

/** What is known of one conversation beyond its line in the list. */
export interface Room {
  timeline: Timeline;
  members: Readonly<Record<string, Member>>;
  /** Its events come on this socket. */
  isJoined: boolean;
  isLoading: boolean;
  /** Why it cannot be shown; null otherwise. */
  failure: string | null;
  /** Others' read markers, by user. */
  markers: Readonly<Record<string, number>>;
  /** The message above which the line "new" stands while it is read; null without. */
  unreadFrom: number | null;
}

export const NO_ROOM: Room = {
  timeline: EMPTY,
  members: {},
  isJoined: false,
  isLoading: false,
  failure: null,
  markers: {},
  unreadFrom: null,
};

export type Sessions = Readonly<Record<string, SessionSummary>>;

interface ChatStore {
  sessions: Sessions;
  /** The whole list has been read once. */
  isListed: boolean;
  listFailure: string | null;
  rooms: Readonly<Record<string, Room>>;
  openId: string | null;
  replyTo: Message | null; // what the composer answers, also when its page is not shown any more
  editing: Message | null; // what the composer edits, likewise
}

const BEGIN: ChatStore = {
  sessions: {},
  isListed: false,
  listFailure: null,
  rooms: {},
  openId: null,
  replyTo: null,
  editing: null,
};

export const useChat = create<ChatStore>()(() => BEGIN);

const { setState: set, getState: get } = useChat;

/** Forget everything: another user begins. */
export function resetChat(): void {
  set(BEGIN, true);
}

export function roomOf(sessionId: string): Room {
  return get().rooms[sessionId] ?? NO_ROOM;
}

export function patchRoom(sessionId: string, patch: Partial<Room>): void {
  const { rooms } = get();
  set({ rooms: { ...rooms, [sessionId]: { ...(rooms[sessionId] ?? NO_ROOM), ...patch } } });
}

/** Change what a conversation shows, by a pure function of `timeline.ts`. */
export function patchTimeline(sessionId: string, change: (timeline: Timeline) => Timeline): void {
  const { timeline } = roomOf(sessionId);
  const next = change(timeline);
  if (next !== timeline) patchRoom(sessionId, { timeline: next });
}

const COUNTS = ["unreadCount", "mentionCount", "lastReadSeq"] as const;

/** A conversation as the list tells it, with what was heard of it since the list was asked for. */
function withHeard(told: SessionSummary, asked: SessionSummary, now: SessionSummary): SessionSummary {
  const fields = Object.keys(now) as (keyof SessionSummary)[];
  const heard = fields.filter((field) => now[field] !== asked[field]);
  // The counts go together: one that was raised and is 0 again has changed as well.
  if (COUNTS.some((field) => heard.includes(field))) heard.push(...COUNTS);
  return { ...told, ...Object.fromEntries(heard.map((field) => [field, now[field]])) };
}

/** Take the whole list. It is older than what has been heard since it was asked for, when the sessions were `asked`. */
export function takeList(list: readonly SessionSummary[], asked: Sessions): void {
  const { sessions: now } = get();
  const come = Object.values(now).filter(({ id }) => !asked[id]);
  const sessions = Object.fromEntries(come.map((each) => [each.id, each]));
  for (const told of list) {
    const before = asked[told.id];
    const known = now[told.id];
    if (before && known) sessions[told.id] = withHeard(told, before, known);
    else if (!before) sessions[told.id] = known ?? told; // else it has been left meanwhile
  }
  set({ sessions, isListed: true, listFailure: null });
}

export function putSessions(sessions: readonly SessionSummary[]): void {
  const all = { ...get().sessions };
  for (const session of sessions) all[session.id] = session;
  set({ sessions: all });
}

export function patchSession(sessionId: string, patch: Partial<SessionSummary>): void {
  const { sessions } = get();
  const known = sessions[sessionId];
  if (known) set({ sessions: { ...sessions, [sessionId]: { ...known, ...patch } } });
}

/** Take a conversation out of everything: one is no longer in it. */
export function dropSession(sessionId: string): void {
  const { [sessionId]: _session, ...sessions } = get().sessions;
  const { [sessionId]: _room, ...rooms } = get().rooms;
  set({ sessions, rooms, ...(get().openId === sessionId ? { openId: null } : {}) });
}

/** Counts are absolute: the latest said is true. */
export function placeSession(position: Position): void {
  const { unreadCount, mentionCount, lastReadSeq } = position;
  patchSession(position.sessionId, { unreadCount, mentionCount, lastReadSeq });
}

/** Favourites first, then the latest activity. */
export function inOrder(sessions: Sessions): SessionSummary[] {
  const activity = (session: SessionSummary): string => session.lastMessage?.createdAt ?? session.createdAt;
  return Object.values(sessions).toSorted(
    (a, b) => Number(b.favourite) - Number(a.favourite) || activity(b).localeCompare(activity(a)),
  );
}
