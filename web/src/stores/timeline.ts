/**
 * What one conversation shows, as pure functions: each takes a timeline and returns the next one.
 *
 * One message is one row, in whatever order its ack, its broadcast and a page of history come, and
 * however often. A row's key is `clientMsgId ?? id` and never changes, so nothing flickers.
 */
import type {
  Message,
  MessageDeleted,
  MessagePinned,
  MessageReaction,
  MessageUpdated,
  Reply,
  User,
} from "@/lib/types";

export type RowStatus = "pending" | "sent" | "failed";

/** One line of a conversation. */
export interface Row {
  key: string;
  status: RowStatus;
  message: Message;
  /** Why it was not sent; null otherwise. */
  failure: string | null;
}

export interface Timeline {
  /** Stored rows by rising `seq`, then what is not stored yet in the order it was written. */
  rows: readonly Row[];
  epoch: string | null;
  /** Every change up to here has been seen; what comes next is `seq + 1`. */
  seq: number;
  hasBefore: boolean;
  /** The rows are not the newest ones: somebody looks at an old place. */
  hasAfter: boolean;
}

export const EMPTY: Timeline = { rows: [], epoch: null, seq: 0, hasBefore: false, hasAfter: false };

/** A message that somebody has just written here. */
export interface Draft {
  sessionId: string;
  content: string;
  clientMsgId: string;
  createdAt: string;
  sender: User;
  replyTo: Reply | null;
  mentions: Message["mentions"];
  attachments: Message["attachments"];
}

export function keyOf(message: Pick<Message, "id" | "clientMsgId">): string {
  return message.clientMsgId ?? message.id;
}

/** The newer of two states of one message. */
function newer(known: Message, told: Message): Message {
  const knownAt = known.changedSeq ?? known.seq;
  const toldAt = told.changedSeq ?? told.seq;
  return toldAt >= knownAt ? told : known;
}

function isStored(row: Row): boolean {
  return row.status === "sent";
}

function indexOf(rows: readonly Row[], message: Message): number {
  const key = keyOf(message);
  return rows.findIndex((row) => row.key === key || (isStored(row) && row.message.id === message.id));
}

function insertStored(rows: readonly Row[], row: Row): Row[] {
  let place = rows.length;
  while (place > 0) {
    const before = rows[place - 1];
    if (before && isStored(before) && before.message.seq <= row.message.seq) break;
    place -= 1;
  }
  return [...rows.slice(0, place), row, ...rows.slice(place)];
}

/** Put stored messages into their places; `seq` is not moved. */
export function withStored(timeline: Timeline, messages: readonly Message[]): Timeline {
  let rows = timeline.rows;
  for (const message of messages) {
    const index = indexOf(rows, message);
    const known = index < 0 ? undefined : rows[index];
    if (known && isStored(known)) {
      const next = newer(known.message, message);
      if (next === known.message) continue;
      rows = rows.map((row, place) => (place === index ? { ...row, message: next } : row));
      continue;
    }
    const row: Row = { key: known?.key ?? keyOf(message), status: "sent", message, failure: null };
    rows = insertStored(known ? rows.filter((_, place) => place !== index) : rows, row);
  }
  return rows === timeline.rows ? timeline : { ...timeline, rows };
}

/** Show a message before the server has it. */
export function withDraft(timeline: Timeline, draft: Draft): Timeline {
  const message: Message = { ...draft, id: draft.clientMsgId, seq: 0 };
  if (indexOf(timeline.rows, message) >= 0) return timeline;
  const row: Row = { key: draft.clientMsgId, status: "pending", message, failure: null };
  return { ...timeline, rows: [...timeline.rows, row] };
}

/** Say of a message that is not stored that it waits (`failure` null) or has failed. */
export function withFailure(timeline: Timeline, key: string, failure: string | null): Timeline {
  const status: RowStatus = failure === null ? "pending" : "failed";
  return {
    ...timeline,
    rows: timeline.rows.map((row) => (row.key === key && !isStored(row) ? { ...row, status, failure } : row)),
  };
}

/** Forget a message that was never stored. */
export function withoutDraft(timeline: Timeline, key: string): Timeline {
  return { ...timeline, rows: timeline.rows.filter((row) => row.key !== key || isStored(row)) };
}

/**
 * Note that a change at `seq` has been seen.
 *
 * Returns null when something is missing before it: then the caller asks the server from `seq` on.
 */
export function advanced(timeline: Timeline, seq: number): Timeline | null {
  if (seq <= timeline.seq) return timeline;
  return seq === timeline.seq + 1 ? { ...timeline, seq } : null;
}

function changed(timeline: Timeline, id: string, change: (message: Message) => Message): Timeline {
  const index = timeline.rows.findIndex((row) => isStored(row) && row.message.id === id);
  if (index < 0) return timeline;
  return {
    ...timeline,
    rows: timeline.rows.map((row, place) => {
      if (place === index) return { ...row, message: change(row.message) };
      return row;
    }),
  };
}

function isNews(message: Message, seq: number): boolean {
  return seq > (message.changedSeq ?? message.seq);
}

/** Replies to a message show what it says now, or that it is gone. */
function withExcerpt(timeline: Timeline, id: string, excerpt: string | null): Timeline {
  if (!timeline.rows.some((row) => row.message.replyTo?.id === id)) return timeline;
  return {
    ...timeline,
    rows: timeline.rows.map((row) =>
      row.message.replyTo?.id === id
        ? { ...row, message: { ...row.message, replyTo: { ...row.message.replyTo, excerpt } } }
        : row,
    ),
  };
}

/** Apply `message:updated`. */
export function withUpdate(timeline: Timeline, event: MessageUpdated): Timeline {
  if (event.message) return withStored(timeline, [event.message]);
  const { id, seq, version, content, mentions, editedAt } = event;
  return changed(timeline, id, (message) =>
    isNews(message, seq) ? { ...message, changedSeq: seq, version, content, mentions, editedAt } : message,
  );
}

/** Apply `message:deleted`: a tombstone stays in the place. */
export function withDeletion(timeline: Timeline, event: MessageDeleted): Timeline {
  const { id, seq, deletedAt, deletedBy } = event;
  const told = event.message
    ? withStored(timeline, [event.message])
    : changed(timeline, id, (message) => ({
        ...message,
        changedSeq: Math.max(seq, message.changedSeq ?? 0),
        content: "",
        mentions: [],
        attachments: [],
        reactions: [],
        pinnedAt: null,
        pinnedBy: null,
        deletedAt,
        deletedBy,
      }));
  return withExcerpt(told, id, null);
}

/** Apply `message:reaction`: `count` and `userIds` are what the emoji has now. */
export function withReaction(timeline: Timeline, event: MessageReaction): Timeline {
  const { emoji, count, userIds, seq } = event;
  return changed(timeline, event.messageId, (message) => {
    if (!isNews(message, seq)) return message;
    const reactions = message.reactions ?? [];
    const told = { emoji, count, userIds };
    const isKnown = reactions.some((each) => each.emoji === emoji);
    const next = isKnown ? reactions.map((each) => (each.emoji === emoji ? told : each)) : [...reactions, told];
    return { ...message, changedSeq: seq, reactions: next.filter((each) => each.count > 0) };
  });
}

/** Apply `message:pinned`. */
export function withPin(timeline: Timeline, event: MessagePinned): Timeline {
  const { seq, pinnedAt, pinnedBy } = event;
  return changed(timeline, event.id, (message) =>
    isNews(message, seq) ? { ...message, changedSeq: seq, pinnedAt, pinnedBy } : message,
  );
}

/** A page of history that stands in front of what is shown. */
export function withPageBefore(timeline: Timeline, messages: readonly Message[], hasBefore: boolean): Timeline {
  return { ...withStored(timeline, messages), hasBefore };
}

/** A page of history that stands behind what is shown. */
export function withPageAfter(timeline: Timeline, messages: readonly Message[], hasAfter: boolean): Timeline {
  return { ...withStored(timeline, messages), hasAfter };
}

/** Start anew from a page, keeping what has been written here and is not stored. */
export function fromPage(
  timeline: Timeline,
  page: { messages: readonly Message[]; epoch: string; seq: number; hasBefore: boolean; hasAfter: boolean },
): Timeline {
  const { messages, ...place } = page;
  const rows = timeline.rows.filter((row) => !isStored(row));
  return withStored({ rows, ...place }, messages);
}

/** What was missed since `seq`, as current states: edits and tombstones included. */
export function withMissed(
  timeline: Timeline,
  missed: { messages: readonly Message[]; epoch: string; seq: number },
): Timeline {
  const known = new Set(timeline.rows.filter(isStored).map((row) => row.message.id));
  const first = timeline.rows.find(isStored)?.message.seq ?? 0;
  const last = timeline.hasAfter ? (timeline.rows.findLast(isStored)?.message.seq ?? 0) : Infinity;
  // What stands before or behind the rows belongs to a page that has not been loaded: it comes with it.
  const shown = missed.messages.filter((each) => known.has(each.id) || (each.seq >= first && each.seq <= last));
  let next = withStored({ ...timeline, epoch: missed.epoch, seq: Math.max(timeline.seq, missed.seq) }, shown);
  for (const message of missed.messages) if (message.deletedAt) next = withExcerpt(next, message.id, null);
  return next;
}
