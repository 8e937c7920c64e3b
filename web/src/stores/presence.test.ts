import { beforeEach, expect, it, vi } from "vitest";
import { startLive } from "@/lib/live";
import { onlineHeard, presenceHeard, typersSet, usePresence } from "./presence";

vi.mock("@/lib/socket", () => ({ closeSocket: () => undefined, openSocket: () => undefined, tell: () => undefined }));
vi.mock("@/lib/api", () => ({ call: () => new Promise(() => undefined) }));

beforeEach(() => localStorage.clear());

it("nothing is left of whom one user has seen when the next one begins", () => {
  const before = usePresence.getState();
  const end = startLive();
  presenceHeard({ userId: "bob", status: "BUSY", text: "at lunch", lastSeen: null });
  onlineHeard("s", 40);
  typersSet("s", ["bob"], 8000);
  expect(usePresence.getState()).not.toEqual(before);
  end();
  expect(usePresence.getState()).toEqual(before);
});
