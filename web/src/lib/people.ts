/** Who is who in a conversation, in words. */
import type { Member, SessionSummary, User } from "./types";

/** The other one of a conversation of two; undefined while its members are not known. */
export function otherOf(members: Readonly<Record<string, Member>>, ownId: string): User | undefined {
  return Object.values(members).find((each) => each.user.id !== ownId)?.user;
}

/** What a conversation is called for its reader. */
export function titleOf(session: SessionSummary, other?: User): string {
  if (session.kind === "DIRECT") return other?.name ?? session.name ?? "Direct conversation";
  return session.name ?? "Unnamed conversation";
}

/** "Ada", "Ada and Bob", "Ada, Bob and 3 others". */
export function namesOf(names: readonly string[]): string {
  if (names.length <= 1) return names[0] ?? "";
  if (names.length === 2) return `${names[0]} and ${names[1]}`;
  const others = names.length - 2;
  return `${names[0]}, ${names[1]} and ${others} ${others === 1 ? "other" : "others"}`;
}
