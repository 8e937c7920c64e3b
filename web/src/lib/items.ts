/** What a conversation shows, line by line: days, the line above what is new, grouped messages. */
import type { Row } from "@/stores/timeline";
import { dayLabel, isSameDay } from "./time";

const GROUP_MS = 5 * 60_000; // messages of one sender within this stand under one name

export type Item =
  | { kind: "day"; key: string; text: string }
  | { kind: "unread"; key: string }
  | { kind: "row"; key: string; row: Row; isFirst: boolean };

function isGrouped(before: Row | undefined, row: Row): boolean {
  if (!before || row.message.replyTo) return false;
  const gap = Date.parse(row.message.createdAt) - Date.parse(before.message.createdAt);
  return before.message.sender.id === row.message.sender.id && gap >= 0 && gap < GROUP_MS;
}

/** The lines of a conversation; `unreadFrom` is the last `seq` that was read before it was opened. */
export function itemsOf(rows: readonly Row[], unreadFrom: number | null, ownId: string): Item[] {
  const items: Item[] = [];
  let before: Row | undefined;
  let isMarked = unreadFrom === null;
  for (const row of rows) {
    const { message } = row;
    const isNewDay = !before || !isSameDay(before.message.createdAt, message.createdAt);
    if (isNewDay) items.push({ kind: "day", key: `day-${new Date(message.createdAt).toDateString()}`, text: dayLabel(message.createdAt) });
    const isNews = !isMarked && unreadFrom !== null && message.seq > unreadFrom && message.sender.id !== ownId;
    if (isNews) {
      items.push({ kind: "unread", key: "unread" });
      isMarked = true;
    }
    items.push({ kind: "row", key: row.key, row, isFirst: isNewDay || isNews || !isGrouped(before, row) });
    before = row;
  }
  return items;
}
