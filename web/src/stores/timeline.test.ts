import { describe, expect, it } from "vitest";
import type { Message, User } from "@/lib/types";
import {
  advanced,
  EMPTY,
  fromPage,
  withDeletion,
  withDraft,
  withFailure,
  withMissed,
  withoutDraft,
  withPageBefore,
  withReaction,
  withStored,
  withUpdate,
  type Draft,
  type Timeline,
} from "./timeline";

const ADA: User = { id: "ada", name: "Ada", avatarUrl: null, avatarColor: "#0f766e" };

function stored(seq: number, change: Partial<Message> = {}): Message {
  return {
    id: `m${seq}`,
    sessionId: "s",
    seq,
    sender: ADA,
    content: `text ${seq}`,
    createdAt: "2026-01-01T00:00:00.000Z",
    clientMsgId: null,
    replyTo: null,
    mentions: [],
    attachments: [],
    ...change,
  };
}

function draft(key: string): Draft {
  return {
    sessionId: "s",
    content: `said ${key}`,
    clientMsgId: key,
    createdAt: "2026-01-01T00:00:00.000Z",
    sender: ADA,
    replyTo: null,
    mentions: [],
    attachments: [],
  };
}

/** All orders of some things. */
function orders<T>(all: readonly T[]): T[][] {
  if (all.length === 0) return [[]];
  return all.flatMap((first, place) => orders(all.toSpliced(place, 1)).map((rest) => [first, ...rest]));
}

const keys = (timeline: Timeline): string[] => timeline.rows.map((row) => row.key);

describe("one message is one row", () => {
  const sent = stored(4, { id: "server-id", clientMsgId: "k" });
  const ack = (timeline: Timeline): Timeline => withStored(timeline, [sent]);
  const broadcast = (timeline: Timeline): Timeline => withStored(advanced(timeline, sent.seq) ?? timeline, [sent]);
  const missed = (timeline: Timeline): Timeline => withMissed(timeline, { messages: [sent], epoch: "e", seq: 4 });
  const page = (timeline: Timeline): Timeline =>
    fromPage(timeline, { messages: [stored(3), sent], epoch: "e", seq: 4, hasBefore: false, hasAfter: false });
  const late = (timeline: Timeline): Timeline => withFailure(timeline, "k", "no answer");
  const again = (timeline: Timeline): Timeline => withDraft(timeline, draft("k"));

  for (const order of orders([ack, broadcast, missed, page, late])) {
    it(`after ${order.map((each) => each.name).join(", ")}, and twice`, () => {
      let timeline = withDraft({ ...EMPTY, seq: 3, epoch: "e" }, draft("k"));
      for (const step of [...order, ...order, again]) timeline = step(timeline);
      const rows = timeline.rows.filter((row) => row.key === "k");
      expect(rows).toHaveLength(1);
      expect(rows[0]).toMatchObject({ status: "sent", message: { id: "server-id", seq: 4 } });
    });
  }

  it("keeps the key that it had before it was stored", () => {
    const timeline = ack(withDraft(EMPTY, draft("k")));
    expect(keys(timeline)).toEqual(["k"]);
  });
});

describe("order", () => {
  it("is that of seq, with what is not stored behind it as it was written", () => {
    let timeline = withDraft(withDraft(EMPTY, draft("a")), draft("b"));
    for (const seq of [5, 2, 9, 3]) timeline = withStored(timeline, [stored(seq)]);
    expect(keys(timeline)).toEqual(["m2", "m3", "m5", "m9", "a", "b"]);
  });

  it("puts a message that was stored later than another one written after it behind that one", () => {
    let timeline = withDraft(withDraft(EMPTY, draft("a")), draft("b"));
    timeline = withStored(timeline, [stored(7, { clientMsgId: "b" })]);
    expect(keys(timeline)).toEqual(["b", "a"]);
    timeline = withStored(timeline, [stored(8, { clientMsgId: "a" })]);
    expect(keys(timeline)).toEqual(["b", "a"]);
  });

  it("puts a page of history in front", () => {
    const timeline = withPageBefore(withStored(EMPTY, [stored(10)]), [stored(8), stored(9)], true);
    expect(keys(timeline)).toEqual(["m8", "m9", "m10"]);
    expect(timeline.hasBefore).toBe(true);
  });
});

describe("positions", () => {
  it("take the next change, forget an old one and find a hole", () => {
    const timeline = { ...EMPTY, seq: 4 };
    expect(advanced(timeline, 5)?.seq).toBe(5);
    expect(advanced(timeline, 4)).toBe(timeline);
    expect(advanced(timeline, 6)).toBeNull();
  });
});

describe("changes", () => {
  const shown = withStored(EMPTY, [stored(1), stored(2, { replyTo: { id: "m1", seq: 1, sender: ADA, excerpt: "text 1" } })]);
  const edit = { id: "m1", sessionId: "s", seq: 5, version: 2, content: "new", mentions: [], editedAt: "2026-01-01T00:01:00.000Z" };

  it("of a text are taken once, and an older one does not undo a newer one", () => {
    const newer = withUpdate(shown, edit);
    const older = withUpdate(newer, { ...edit, seq: 4, content: "old" });
    expect(older.rows[0]?.message).toMatchObject({ content: "new", version: 2 });
  });

  it("do not come back with an old page", () => {
    const timeline = withStored(withUpdate(shown, edit), [stored(1)]);
    expect(timeline.rows[0]?.message.content).toBe("new");
  });

  it("that delete wipe the text, and the excerpt in its answers", () => {
    const gone = withDeletion(shown, { id: "m1", sessionId: "s", seq: 6, deletedAt: "2026-01-01T00:02:00.000Z", deletedBy: "ada" });
    expect(gone.rows[0]?.message).toMatchObject({ content: "", deletedAt: "2026-01-01T00:02:00.000Z" });
    expect(gone.rows[1]?.message.replyTo?.excerpt).toBeNull();
  });

  it("of reactions say what there is now", () => {
    const event = { sessionId: "s", messageId: "m1", seq: 7, emoji: "👍", count: 1, userIds: ["ada"], userId: "ada", on: true };
    const liked = withReaction(shown, event);
    expect(liked.rows[0]?.message.reactions).toEqual([{ emoji: "👍", count: 1, userIds: ["ada"] }]);
    const taken = withReaction(liked, { ...event, seq: 8, count: 0, userIds: [], on: false });
    expect(taken.rows[0]?.message.reactions).toEqual([]);
  });

  it("of messages in pages that are not loaded change nothing that is shown", () => {
    const start = withStored({ ...EMPTY, epoch: "e", seq: 20 }, [stored(15), stored(16)]);
    const next = withMissed(start, { messages: [stored(3, { changedSeq: 21 }), stored(21)], epoch: "e", seq: 21 });
    expect(keys(next)).toEqual(["m15", "m16", "m21"]);
    expect(next.seq).toBe(21);
  });

  it("of messages behind an old place leave no hole after it", () => {
    const old = { ...withStored({ ...EMPTY, epoch: "e", seq: 90 }, [stored(15), stored(16)]), hasAfter: true };
    const edited = stored(16, { content: "edited", changedSeq: 92 });
    const next = withMissed(old, { messages: [stored(91), edited], epoch: "e", seq: 92 });
    expect(keys(next)).toEqual(["m15", "m16"]);
    expect(next.rows[1]?.message.content).toBe("edited");
    expect(next).toMatchObject({ seq: 92, hasAfter: true });
  });
});

describe("what is not stored", () => {
  it("outlives a new page", () => {
    const timeline = fromPage(withDraft(withStored(EMPTY, [stored(1)]), draft("k")), {
      messages: [stored(90)],
      epoch: "e",
      seq: 90,
      hasBefore: true,
      hasAfter: false,
    });
    expect(keys(timeline)).toEqual(["m90", "k"]);
  });

  it("fails with a reason, waits again, and is gone when it is given up", () => {
    const failed = withFailure(withDraft(EMPTY, draft("k")), "k", "muted");
    expect(failed.rows[0]).toMatchObject({ status: "failed", failure: "muted" });
    const waiting = withFailure(failed, "k", null);
    expect(waiting.rows[0]).toMatchObject({ status: "pending", failure: null });
    expect(withoutDraft(waiting, "k").rows).toEqual([]);
  });

  it("cannot fail or be given up once it is stored", () => {
    const timeline = withStored(withDraft(EMPTY, draft("k")), [stored(1, { clientMsgId: "k" })]);
    expect(withFailure(timeline, "k", "late").rows[0]?.status).toBe("sent");
    expect(keys(withoutDraft(timeline, "k"))).toEqual(["k"]);
  });
});
