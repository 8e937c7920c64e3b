import { describe, expect, it } from "vitest";
import { EMPTY, withStored } from "@/stores/timeline";
import { itemsOf } from "./items";
import type { Message } from "./types";

function message(seq: number, sender: string, createdAt: string): Message {
  return {
    id: `m${seq}`,
    sessionId: "s",
    seq,
    sender: { id: sender, name: sender, avatarUrl: null, avatarColor: "#000000" },
    content: "x",
    createdAt,
    clientMsgId: null,
    replyTo: null,
    mentions: [],
    attachments: [],
  };
}

function shown(messages: Message[], unreadFrom: number | null = null): string[] {
  const { rows } = withStored(EMPTY, messages);
  const { head, items } = itemsOf(rows, unreadFrom, "me");
  const lines = items.flatMap(({ row, isFirst, after }) => [
    `${row.key}${isFirst ? "*" : ""}`,
    ...after.map((line) => line.kind),
  ]);
  return [...head.map((line) => line.kind), ...lines];
}

describe("lines of a conversation", () => {
  it("group what one sender says within five minutes", () => {
    expect(
      shown([
        message(1, "ada", "2026-01-01T12:00:00Z"),
        message(2, "ada", "2026-01-01T12:04:59Z"),
        message(3, "ada", "2026-01-01T12:09:59Z"),
        message(4, "bob", "2026-01-01T12:10:00Z"),
      ]),
    ).toEqual(["day", "m1*", "m2", "m3*", "m4*"]);
  });

  it("begin a day with its name", () => {
    expect(shown([message(1, "ada", "2026-01-01T12:00:00Z"), message(2, "ada", "2026-01-03T12:00:00Z")])).toEqual([
      "day",
      "m1*",
      "day",
      "m2*",
    ]);
  });

  it("have one line above the first of others that was not read", () => {
    const said = [1, 2, 3, 4].map((seq) => message(seq, seq === 2 ? "me" : "ada", "2026-01-01T12:00:00Z"));
    expect(shown(said, 1)).toEqual(["day", "m1*", "m2*", "unread", "m3*", "m4"]);
    expect(shown(said, 4)).not.toContain("unread");
  });

  it("change nothing at a message and below it when older ones come in front", () => {
    const later = [3, 4].map((seq) => message(seq, "ada", "2026-01-02T12:00:00Z"));
    const { rows } = withStored(EMPTY, later);
    const all = withStored(EMPTY, [message(1, "bob", "2026-01-01T12:00:00Z"), ...later]).rows;
    expect(itemsOf(all, null, "me").items.slice(1)).toEqual(itemsOf(rows, null, "me").items);
  });
});
