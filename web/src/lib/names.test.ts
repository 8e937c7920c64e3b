import { cleanup, renderHook, waitFor } from "@testing-library/react";
import { afterEach, expect, it, vi } from "vitest";
import { useNames } from "./names";

const { call } = vi.hoisted(() => ({ call: vi.fn() }));
vi.mock("./api", () => ({ call }));

afterEach(cleanup);

it("only names that nobody knows are asked for, each once, and one that does not come is no trouble", async () => {
  call.mockImplementation(async ({ url }: { url: string }) => {
    if (url === "/users/gone") throw new Error("not found");
    return { user: { name: "Bob" } };
  });
  const known = { ada: "Ada" };
  const { result } = renderHook(() => useNames(["ada", "gone", "bob", "bob"], known));
  await waitFor(() => expect(result.current("bob")).toBe("Bob"));
  expect(["ada", "gone"].map(result.current)).toEqual(["Ada", "Somebody"]);
  expect(call.mock.calls.map(([request]) => (request as { url: string }).url)).toEqual(["/users/gone", "/users/bob"]);
});
