import { beforeEach, describe, expect, it } from "vitest";
import { deviceTokenOf, keepDeviceToken, storeLogin } from "./tokens";

describe("the proof of an earlier login here", () => {
  beforeEach(() => localStorage.clear());

  it("is kept over a logout, of each account its own", () => {
    keepDeviceToken("Ada@example.org", "of ada");
    keepDeviceToken("bob@example.org", "of bob");
    storeLogin(null);
    expect(deviceTokenOf(" ada@example.org ")).toBe("of ada");
    expect(deviceTokenOf("bob@example.org")).toBe("of bob");
    expect(deviceTokenOf("eve@example.org")).toBeUndefined();
  });

  it("is kept of the latest accounts alone", () => {
    for (const name of ["a", "b", "c", "d", "e", "a", "f"]) keepDeviceToken(`${name}@example.org`, name);
    expect(["a", "b", "c", "d", "e", "f"].map((name) => deviceTokenOf(`${name}@example.org`))).toEqual(["a", undefined, "c", "d", "e", "f"]);
  });
});
