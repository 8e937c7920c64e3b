/** What was written and is not stored yet, and half-written drafts: both outlive a reload. */
import type { Draft } from "./timeline";

export interface Unsent extends Draft {
  /** Why the server refused it; null while it only waits. */
  failure: string | null;
}

function read<T>(key: string, fallback: T): T {
  try {
    return (JSON.parse(localStorage.getItem(key) ?? "null") as T | null) ?? fallback;
  } catch {
    return fallback; // not ours, or cut: nothing to keep
  }
}

function write(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // The browser's store is full or closed: then it lives as long as the page.
  }
}

const unsentKey = (userId: string): string => `chatd.unsent.${userId}`;
const draftKey = (userId: string): string => `chatd.drafts.${userId}`;

/** What of this user waits, the oldest first. */
export function unsentOf(userId: string): Unsent[] {
  return read<Unsent[]>(unsentKey(userId), []);
}

export function keepUnsent(userId: string, draft: Unsent): void {
  const others = unsentOf(userId).filter((each) => each.clientMsgId !== draft.clientMsgId);
  write(unsentKey(userId), [...others, draft]);
}

export function markUnsent(userId: string, clientMsgId: string, failure: string | null): void {
  const all = unsentOf(userId).map((each) => (each.clientMsgId === clientMsgId ? { ...each, failure } : each));
  write(unsentKey(userId), all);
}

export function dropUnsent(userId: string, clientMsgId: string): void {
  write(
    unsentKey(userId),
    unsentOf(userId).filter((each) => each.clientMsgId !== clientMsgId),
  );
}

/** The text that was left half-written in a conversation. */
export function draftOf(userId: string, sessionId: string): string {
  return read<Record<string, string>>(draftKey(userId), {})[sessionId] ?? "";
}

export function keepDraft(userId: string, sessionId: string, text: string): void {
  const { [sessionId]: _, ...others } = read<Record<string, string>>(draftKey(userId), {});
  write(draftKey(userId), text ? { ...others, [sessionId]: text } : others);
}

/** Forget all that this user wrote here and that nobody else has: at a logout nothing stays for who comes next. */
export function forgetUnsent(userId: string): void {
  localStorage.removeItem(unsentKey(userId));
  localStorage.removeItem(draftKey(userId));
}
