import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import type { AxiosRequestConfig } from "axios";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "@/lib/errors";
import type { Member, SessionSummary } from "@/lib/types";
import { resetChat } from "@/stores/chat";
import { Members } from "./members";

const { call } = vi.hoisted(() => ({ call: vi.fn() }));
vi.mock("@/lib/api", () => ({ apiBase: () => "", call }));
vi.mock("@/lib/socket", () => ({ request: vi.fn() }));

const SESSION = { id: "s", kind: "GROUP", role: "MEMBER", memberCount: 3 } as SessionSummary;

function member(name: string): Member {
  const user = { id: name, name, avatarUrl: null, avatarColor: "#0f766e" };
  return { user, role: "MEMBER", joinedAt: "2026-11-01T10:00:00Z" } as Member;
}

beforeEach(() => {
  resetChat();
  call.mockReset();
});
afterEach(cleanup);

it("all members are reached, page by page, and a page that did not come is asked for again", async () => {
  const pages = [
    { members: [member("Ada"), member("Bob")], nextAfter: "Bob" },
    new ApiError({ code: "network", message: "The server cannot be reached." }),
    { members: [member("Cy")], nextAfter: null },
  ];
  call.mockImplementation(async () => {
    const page = pages.shift();
    if (page instanceof Error) throw page;
    return page;
  });
  render(<Members session={SESSION} />);
  fireEvent.click(await screen.findByRole("button", { name: "More members" }));
  expect((await screen.findByRole("alert")).textContent).toBe("The server cannot be reached.");
  fireEvent.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText("Cy")).toBeTruthy();
  expect(screen.getByText("Ada")).toBeTruthy();
  expect(screen.queryByRole("button", { name: "More members" })).toBeNull();
  const asked = call.mock.calls.map(([request]) => (request as AxiosRequestConfig).params as unknown);
  expect(asked).toEqual([{ limit: 100 }, { limit: 100, after: "Bob" }, { limit: 100, after: "Bob" }]);
});
