import { describe, expect, it } from "vitest";
import { mentionsIn, nameBefore } from "./mentions";
import type { Member } from "./types";

function member(id: string, name: string): Member {
  return { user: { id, name, avatarUrl: null, avatarColor: "#000000" }, role: "MEMBER", joinedAt: "2026-01-01T00:00:00Z" };
}

const MEMBERS = { a: member("a", "Ann"), b: member("b", "Ann Lee"), c: member("c", "Çelik") };

describe("who is meant", () => {
  it.each([
    ["@Ann hello", ["a"]],
    ["hello @ann lee!", ["a", "b"]],
    ["(@çelik)", ["c"]],
    ["ann@ann.example", []],
    ["@Annabel", []],
    ["nobody", []],
  ])("in %j", (text, expected) => {
    expect(mentionsIn(text, MEMBERS)).toEqual(expected);
  });

  it("is everybody by @all", () => {
    expect(mentionsIn("look @all", MEMBERS)).toBe("ALL");
    expect(mentionsIn("mail@all.example", MEMBERS)).toEqual([]);
  });
});

describe("a name that is being written", () => {
  it("is what stands between @ and the caret", () => {
    expect(nameBefore("hello @an", 9)).toEqual({ at: 6, query: "an" });
    expect(nameBefore("hello @an there", 9)).toEqual({ at: 6, query: "an" });
    expect(nameBefore("a@an", 4)).toBeNull();
    expect(nameBefore("@", 1)).toEqual({ at: 0, query: "" });
  });
});
