import { describe, expect, it } from "vitest";
import type { AiMessage } from "@/lib/types";
import { withAiMessages, withDelta } from "./ai";

describe("pieces of an answer", () => {
  it("stand where they belong, come twice without harm and tell a hole", () => {
    expect(withDelta("", 0, "Hel")).toBe("Hel");
    expect(withDelta("Hel", 3, "lo")).toBe("Hello");
    expect(withDelta("Hello", 3, "lo")).toBe("Hello");
    expect(withDelta("Hello", 2, "llo, you")).toBe("Hello, you");
    expect(withDelta("Hel", 4, "o")).toBeNull();
  });

  it("give one text in whatever way they are cut", () => {
    const text = "Grüße 👋🏽 to all";
    for (let cut = 0; cut <= text.length; cut += 1) {
      const first = withDelta("", 0, text.slice(0, cut)) ?? "";
      expect(withDelta(first, cut, text.slice(cut))).toBe(text);
    }
  });
});

describe("messages of a conversation", () => {
  const message = (id: string, seq: number, content = ""): AiMessage => ({
    id,
    aiSessionId: "s",
    seq,
    role: "USER",
    status: "COMPLETE",
    content,
    createdAt: "2026-01-01T00:00:00Z",
    clientMsgId: null,
    model: null,
    finishReason: null,
    errorCode: null,
    usage: null,
  });

  it("are there once each, in their order, in their latest state", () => {
    const known = [message("b", 2, "old"), message("c", 3)];
    const all = withAiMessages(known, [message("a", 1), message("b", 2, "new")]);
    expect(all.map((each) => each.id)).toEqual(["a", "b", "c"]);
    expect(all[1]?.content).toBe("new");
  });
});
