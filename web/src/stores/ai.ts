import { create } from "zustand";
import type { AiMessage, AiSession } from "@/lib/types";

/** An answer under way: the text that has come, as it comes. */
export interface Stream {
  text: string;
  /** Somebody asks for what is missing; what comes meanwhile is not put behind a hole. */
  isCatchingUp: boolean;
}

export interface AiRoom {
  messages: readonly AiMessage[];
  hasBefore: boolean;
  isLoading: boolean;
  failure: string | null;
}

export const NO_AI_ROOM: AiRoom = { messages: [], hasBefore: false, isLoading: false, failure: null };

interface AiStore {
  sessions: Readonly<Record<string, AiSession>>;
  isListed: boolean;
  listFailure: string | null;
  rooms: Readonly<Record<string, AiRoom>>;
  /** By message id, in conversations and in sessions alike. */
  streams: Readonly<Record<string, Stream>>;
  openId: string | null;
}

const BEGIN: AiStore = { sessions: {}, isListed: false, listFailure: null, rooms: {}, streams: {}, openId: null };

export const useAi = create<AiStore>()(() => BEGIN);

const { setState: set, getState: get } = useAi;

export function resetAi(): void {
  set(BEGIN, true);
}

export function aiRoomOf(id: string): AiRoom {
  return get().rooms[id] ?? NO_AI_ROOM;
}

export function patchAiRoom(id: string, patch: Partial<AiRoom>): void {
  set({ rooms: { ...get().rooms, [id]: { ...aiRoomOf(id), ...patch } } });
}

export function putAiSession(session: AiSession): void {
  set({ sessions: { ...get().sessions, [session.id]: session } });
}

export function dropAiSession(id: string): void {
  const { [id]: _session, ...sessions } = get().sessions;
  const { [id]: _room, ...rooms } = get().rooms;
  set({ sessions, rooms });
}

/** Put messages into their places: by `seq`, each once, the later state counts. */
export function withAiMessages(known: readonly AiMessage[], told: readonly AiMessage[]): AiMessage[] {
  const byId = new Map(known.map((each) => [each.id, each]));
  for (const message of told) byId.set(message.id, message);
  return [...byId.values()].toSorted((a, b) => a.seq - b.seq);
}

/**
 * Put a piece of an answer where it belongs.
 *
 * Returns the text from there on, or null when something is missing before it: then it is asked for.
 */
export function withDelta(text: string, index: number, piece: string): string | null {
  if (index > text.length) return null;
  const end = index + piece.length;
  return end <= text.length ? text : text.slice(0, index) + piece;
}

export function patchStream(messageId: string, patch: Partial<Stream>): void {
  const known = get().streams[messageId] ?? { text: "", isCatchingUp: false };
  set({ streams: { ...get().streams, [messageId]: { ...known, ...patch } } });
}

export function dropStream(messageId: string): void {
  const { [messageId]: _, ...streams } = get().streams;
  set({ streams });
}

export function patchAiMessage(sessionId: string, messageId: string, patch: Partial<AiMessage>): void {
  const { messages } = aiRoomOf(sessionId);
  patchAiRoom(sessionId, {
    messages: messages.map((each) => (each.id === messageId ? { ...each, ...patch } : each)),
  });
}

/** The latest active first. */
export function aiInOrder(sessions: Readonly<Record<string, AiSession>>): AiSession[] {
  return Object.values(sessions).toSorted((a, b) => b.activeAt.localeCompare(a.activeAt));
}
