import { create } from "zustand";
import type { Member, Position, SessionSummary } from "@/lib/types";
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

interface ChatStore {
  sessions: Readonly<Record<string, SessionSummary>>;
  /** The whole list has been read once. */
  isListed: boolean;
  listFailure: string | null;
  rooms: Readonly<Record<string, Room>>;
  openId: string | null;
  replyTo: string | null; // message id that the composer answers
  editing: string | null; // message id that the composer edits
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
export function inOrder(sessions: Readonly<Record<string, SessionSummary>>): SessionSummary[] {
  const activity = (session: SessionSummary): string => session.lastMessage?.createdAt ?? session.createdAt;
  return Object.values(sessions).toSorted(
    (a, b) => Number(b.favourite) - Number(a.favourite) || activity(b).localeCompare(activity(a)),
  );
}
