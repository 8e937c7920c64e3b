import { describe, expect, it } from "vitest";
import { waitBefore } from "./socket";

describe("the wait before the next try", () => {
  it("doubles up to its bound, and clients do not come all at once", () => {
    expect([0, 1, 2, 3].map((attempt) => waitBefore(attempt, null, 1))).toEqual([500, 1000, 2000, 4000]);
    expect(waitBefore(50, null, 1)).toBe(20_000);
    expect(waitBefore(3, null, 0)).toBe(2000);
  });

  it("is never shorter than the server says", () => {
    expect(waitBefore(0, 7000, 0)).toBe(7000);
    expect(waitBefore(50, 7000, 1)).toBe(20_000);
  });
});
