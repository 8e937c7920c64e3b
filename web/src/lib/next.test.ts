import { describe, expect, it } from "vitest";
import { nextPage } from "./next";

const nextOf = (next: string): string => nextPage(`?next=${encodeURIComponent(next)}`);

describe("the page after the login", () => {
  it("is the one that was asked for", () => {
    expect(nextOf("/chat/?s=1#end")).toBe("/chat/?s=1#end");
    expect(nextOf("/settings/")).toBe("/settings/");
  });

  it.each(["", "chat/", "//evil.example/", "/\\evil.example/", "/\t/evil.example/", "/\n\\evil.example/", "/.//evil.example/", "https://evil.example/", "javascript:alert(1)"])(
    "is never of another host, nor a script: %j",
    (next) => {
      expect(nextOf(next)).toBe("/chat/");
    },
  );
});
