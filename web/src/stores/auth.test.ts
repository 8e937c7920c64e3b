import { expect, it, vi } from "vitest";
import type { Account } from "@/lib/types";
import { keepDraft, keepUnsent, unsentOf, draftOf, type Unsent } from "./unsent";

const { call } = vi.hoisted(() => ({ call: vi.fn() }));
vi.mock("@/lib/api", () => ({ call, dropTokens: vi.fn() }));
const { endLogin, logout, useAuth } = await import("./auth");

it.each([
  ["the logout", () => undefined],
  ["the connection, before the logout is answered", () => endLogin("You were logged out.")],
  ["the API, before the logout is answered", () => useAuth.setState({ state: "out", account: null, notice: "It has ended." })],
])("who logs out leaves nothing unsent behind, whoever ends the login first: %s", async (_, end) => {
  useAuth.setState({ state: "in", account: { id: "ada" } as Account });
  keepUnsent("ada", { sessionId: "s", clientMsgId: "c", content: "not sent", failure: null } as Unsent);
  keepDraft("ada", "s", "half a thought");
  call.mockImplementation(async () => end());
  await logout();
  expect(unsentOf("ada")).toEqual([]);
  expect(draftOf("ada", "s")).toBe("");
  expect(useAuth.getState()).toMatchObject({ state: "out", account: null, notice: null });
});
