import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "@/lib/errors";
import { InvitePage } from "./invite-page";

const { call, replace } = vi.hoisted(() => ({ call: vi.fn(), replace: vi.fn() }));
vi.mock("@/lib/api", () => ({ call }));
vi.mock("next/navigation", () => ({ useRouter: () => ({ replace }) }));

/** Open the page and press its button, which the server refuses with this. */
async function refused(code: "network" | "not_found"): Promise<void> {
  call.mockResolvedValueOnce({ name: "Tea", memberCount: 2 });
  call.mockRejectedValueOnce(new ApiError({ code, message: "refused" }));
  render(<InvitePage />);
  fireEvent.click(await screen.findByRole("button", { name: "Join" }));
  await screen.findByRole("alert");
}

beforeEach(() => call.mockReset());
afterEach(cleanup);

it("who could not join may try again", async () => {
  await refused("network");
  call.mockResolvedValueOnce({ session: { id: "s" } });
  fireEvent.click(screen.getByRole("button", { name: "Join" }));
  await vi.waitFor(() => expect(replace).toHaveBeenCalledExactlyOnceWith("/chat/?s=s"));
  expect(screen.queryByRole("alert")).toBeNull();
});

it("a link that does not work any more offers no button", async () => {
  await refused("not_found");
  expect(screen.getByText("This link does not work any more.")).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Join" })).toBeNull();
});
