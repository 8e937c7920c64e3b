import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "@/lib/errors";
import type { SessionSummary } from "@/lib/types";
import { Bans } from "./bans";

const { call, request } = vi.hoisted(() => ({ call: vi.fn(), request: vi.fn() }));
vi.mock("@/lib/api", () => ({ apiBase: () => "", call }));
vi.mock("@/lib/socket", () => ({ request }));

const SESSION = { id: "s", kind: "GROUP", role: "OWNER", memberCount: 3 } as SessionSummary;
const BOB = {
  user: { id: "bob", name: "Bob", avatarUrl: null, avatarColor: "#0f766e" },
  by: "ada",
  createdAt: "2026-11-01T10:00:00Z",
  until: null,
  reason: "spam",
};

beforeEach(() => {
  call.mockReset().mockResolvedValue({ bans: [BOB], nextAfter: null });
  request.mockReset();
});
afterEach(cleanup);

it("a ban stands there with its reason until it is lifted", async () => {
  render(<Bans session={SESSION} />);
  expect(await screen.findByText("until it is lifted: spam")).toBeTruthy();
  request.mockRejectedValueOnce(new ApiError({ code: "network", message: "You are offline." }));
  fireEvent.click(screen.getByRole("button", { name: "Lift the ban of Bob" }));
  await vi.waitFor(() => expect(request).toHaveBeenCalledOnce());
  expect(screen.queryByText("Bob")).not.toBeNull();
  request.mockResolvedValueOnce({});
  fireEvent.click(screen.getByRole("button", { name: "Lift the ban of Bob" }));
  await vi.waitFor(() => expect(screen.queryByText("Bob")).toBeNull());
  expect(request).toHaveBeenLastCalledWith("member:unban", { sessionId: "s", userId: "bob" });
});

it("who has been banned meanwhile is listed, for they are no member any more", async () => {
  const { rerender } = render(<Bans session={SESSION} />);
  await screen.findByText("Bob");
  const cy = { ...BOB, user: { ...BOB.user, id: "cy", name: "Cy" } };
  call.mockResolvedValue({ bans: [BOB, cy], nextAfter: null });
  rerender(<Bans session={{ ...SESSION, memberCount: 2 }} />);
  expect(await screen.findByText("Cy")).toBeTruthy();
  expect(screen.getAllByText("Bob")).toHaveLength(1);
});
