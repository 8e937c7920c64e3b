/** What a conversation shows, message by message: grouped, with lines between days and above news. */
import type { Row } from "@/stores/timeline";
import { dayLabel, isSameDay } from "./time";

const GROUP_MS = 5 * 60_000; // messages of one sender within this stand under one name

/** A line between messages: the name of a day, or what is new. */
export interface Line {
  kind: "day" | "unread";
  text: string;
}

/**
 * One message and the lines behind it.
 *
 * Lines hang on the message before them: when older messages are put in front, nothing at the place
 * that is read changes, so that it does not move.
 */
export interface Item {
  row: Row;
  /** The first of a group stands under its sender's name. */
  isFirst: boolean;
  after: readonly Line[];
}

export interface Items {
  /** The lines above the first message. */
  head: readonly Line[];
  items: readonly Item[];
}

function isGrouped(before: Row | undefined, row: Row): boolean {
  if (!before || row.message.replyTo) return false;
  const gap = Date.parse(row.message.createdAt) - Date.parse(before.message.createdAt);
  return before.message.sender.id === row.message.sender.id && gap >= 0 && gap < GROUP_MS;
}

/** What to show; `unreadFrom` is the last `seq` that was read before the conversation was opened. */
export function itemsOf(rows: readonly Row[], unreadFrom: number | null, ownId: string): Items {
  const head: Line[] = [];
  const items: (Item & { after: Line[] })[] = [];
  let before: Row | undefined;
  let isMarked = unreadFrom === null;
  for (const row of rows) {
    const { message } = row;
    const lines: Line[] = [];
    if (!before || !isSameDay(before.message.createdAt, message.createdAt)) {
      lines.push({ kind: "day", text: dayLabel(message.createdAt) });
    }
    if (!isMarked && unreadFrom !== null && message.seq > unreadFrom && message.sender.id !== ownId) {
      lines.push({ kind: "unread", text: "New" });
      isMarked = true;
    }
    (items.at(-1)?.after ?? head).push(...lines);
    items.push({ row, isFirst: lines.length > 0 || !isGrouped(before, row), after: [] });
    before = row;
  }
  return { head, items };
}
