import { create } from "zustand";
import type { ConnectionReady, OwnStatus, Presence, UserTyping } from "@/lib/types";

interface PresenceStore {
  /** Whoever is not here is not there, or not known. */
  people: Readonly<Record<string, Presence>>;
  /** Sessions with too many members for single states: how many are there. */
  online: Readonly<Record<string, number>>;
  /** By session, who types, and until when (ms of this clock). */
  typing: Readonly<Record<string, Readonly<Record<string, number>>>>;
  own: OwnStatus;
}

const OFFLINE: OwnStatus = { status: "ONLINE", text: null, until: null };

const BEGIN: PresenceStore = { people: {}, online: {}, typing: {}, own: OFFLINE };

export const usePresence = create<PresenceStore>()(() => BEGIN);

const { setState: set, getState: get } = usePresence;

/** Forget everybody: another user begins. */
export function resetPresence(): void {
  set(BEGIN, true);
}

/** The first event of a connection takes the place of all that was known. */
export function presenceReady(ready: Pick<ConnectionReady, "presence" | "status">): void {
  set({
    people: Object.fromEntries(ready.presence.map((each) => [each.userId, each])),
    own: ready.status,
    typing: {},
  });
}

export function presenceHeard(told: Presence | readonly Presence[]): void {
  const all = Array.isArray(told) ? (told as readonly Presence[]) : [told as Presence];
  const people = { ...get().people };
  for (const each of all) people[each.userId] = each;
  set({ people });
}

export function onlineHeard(sessionId: string, count: number): void {
  set({ online: { ...get().online, [sessionId]: count } });
}

export function ownStatusSet(own: OwnStatus): void {
  set({ own });
}

/** Set who types in a session, as the join tells. */
export function typersSet(sessionId: string, userIds: readonly string[], expiresInMs: number): void {
  const until = Date.now() + expiresInMs;
  const typers = Object.fromEntries(userIds.map((id) => [id, until]));
  set({ typing: { ...get().typing, [sessionId]: typers } });
}

/** The server owns the expiry; ours only covers a connection that is gone meanwhile. */
export function typingHeard(event: UserTyping): void {
  const { [event.userId]: _, ...others } = get().typing[event.sessionId] ?? {};
  const typers = event.isTyping ? { ...others, [event.userId]: Date.now() + event.expiresInMs + 1000 } : others;
  set({ typing: { ...get().typing, [event.sessionId]: typers } });
}

/** Forget who should have stopped by now. */
export function typingExpired(now = Date.now()): void {
  const typing = get().typing;
  const entries = Object.entries(typing).map(([sessionId, typers]) => {
    const live = Object.entries(typers).filter(([, until]) => until > now);
    return [sessionId, live.length === Object.keys(typers).length ? typers : Object.fromEntries(live)] as const;
  });
  if (entries.some(([sessionId, typers]) => typing[sessionId] !== typers)) {
    set({ typing: Object.fromEntries(entries) });
  }
}
