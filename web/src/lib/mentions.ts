/** Mentions are data: who is meant is told by id, the text only shows the name. */
import type { Member, Message } from "./types";

/** Who is meant by `@name` in a text; `@all` and `@everyone` mean all. */
export function mentionsIn(text: string, members: Readonly<Record<string, Member>>): Message["mentions"] {
  if (/(^|\s)@(all|everyone)\b/i.test(text)) return "ALL";
  const low = text.toLocaleLowerCase();
  return Object.values(members)
    .filter(({ user }) => hasName(low, user.name.toLocaleLowerCase()))
    .map(({ user }) => user.id);
}

function hasName(text: string, name: string): boolean {
  for (let at = text.indexOf(`@${name}`); at >= 0; at = text.indexOf(`@${name}`, at + 1)) {
    const before = text[at - 1];
    const after = text[at + 1 + name.length];
    if ((!before || /\s|[([{"']/.test(before)) && (!after || !/[\p{L}\p{N}_]/u.test(after))) return true;
  }
  return false;
}

/** The beginning of a name that stands before the caret, and where it begins; null when none does. */
export function nameBefore(text: string, caret: number): { at: number; query: string } | null {
  const found = /(?:^|\s)@([\p{L}\p{N}_.-]*)$/u.exec(text.slice(0, caret));
  if (!found) return null;
  const query = found[1] ?? "";
  return { at: caret - query.length - 1, query };
}
