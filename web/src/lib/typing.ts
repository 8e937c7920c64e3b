import { tell } from "./socket";

const EVERY_MS = 2000; // how often the server is told that somebody goes on typing

let told: { sessionId: string; at: number } | null = null;

/** Somebody types in a conversation. */
export function typed(sessionId: string): void {
  const now = Date.now();
  if (told?.sessionId === sessionId && now - told.at < EVERY_MS) return;
  told = { sessionId, at: now };
  tell("typing:start", { sessionId });
}

/** Somebody stopped; a message that is sent ends it by itself (`isTold` false). */
export function typedNoMore(sessionId: string, isTold = true): void {
  if (told?.sessionId !== sessionId) return;
  told = null;
  if (isTold) tell("typing:stop", { sessionId });
}
