import { beforeEach, describe, expect, it } from "vitest";
import type { User } from "@/lib/types";
import { draftOf, forgetUnsent, keepDraft, keepUnsent, unsentOf } from "./unsent";

describe("what is not sent", () => {
  beforeEach(() => localStorage.clear());

  it("is forgotten with its user, and nobody else's", () => {
    const sender = { id: "ada", name: "Ada" } as User;
    const draft = { sessionId: "s", content: "tea", clientMsgId: "1", createdAt: "2026-01-01T00:00:00.000Z", sender, replyTo: null };
    for (const userId of ["ada", "bob"]) {
      keepDraft(userId, "s", `of ${userId}`);
      keepUnsent(userId, { ...draft, mentions: [], attachments: [], failure: null });
    }
    forgetUnsent("ada");
    expect([draftOf("ada", "s"), unsentOf("ada")]).toEqual(["", []]);
    expect([draftOf("bob", "s"), unsentOf("bob").length]).toEqual(["of bob", 1]);
    expect(Object.keys(localStorage).filter((key) => key.includes("ada"))).toEqual([]);
  });
});
