import { expect, it } from "vitest";
import { actWords } from "./audit-words";
import type { SessionAuditEntry } from "./types";

function said(action: string, details: Record<string, unknown> = {}, targetId: string | null = "bob"): string {
  const entry: SessionAuditEntry = { id: 1, at: "2026-11-01T10:00:00Z", action, userId: "ada", targetId, details };
  return actWords(entry, (id) => id.toUpperCase());
}

it.each([
  ["member_role", { role: "ADMIN", before: "MEMBER" }, "made BOB an admin"],
  ["member_muted", { until: null }, "let BOB write again"],
  ["member_banned", { until: null, reason: "spam" }, "banned BOB: spam"],
  ["session_updated", { readOnly: false, slowModeSeconds: 30 }, "let everybody write, set slow mode to 30 s"],
  ["session_updated", { slowModeSeconds: 0 }, "ended slow mode"],
  ["message_deleted", { messageId: "m" }, "deleted a message of BOB"],
  ["something_new", {}, "something new"],
])("%s is told in words", (action, details, words) => {
  expect(said(action, details)).toBe(words);
});

it("a mute says until when", () => {
  expect(said("member_muted", { until: "2026-11-02T10:00:00Z" })).toMatch(/^muted BOB until ./);
});
