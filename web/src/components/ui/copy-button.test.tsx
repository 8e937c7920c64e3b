import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { CopyButton } from "./copy-button";

const { copied } = vi.hoisted(() => ({ copied: vi.fn() }));
vi.mock("@/lib/clipboard", () => ({ copied }));

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

it("says for a moment that it has copied", async () => {
  copied.mockResolvedValue(true);
  render(<CopyButton label="Copy the code" text={() => "x = 1"} />);
  fireEvent.click(screen.getByRole("button", { name: "Copy the code" }));
  await act(() => vi.advanceTimersByTimeAsync(0));
  expect(copied).toHaveBeenCalledWith("x = 1");
  expect(screen.queryByRole("button", { name: "Copied" })).not.toBeNull();
  await act(() => vi.advanceTimersByTimeAsync(1500));
  expect(screen.queryByRole("button", { name: "Copy the code" })).not.toBeNull();
});

it("says nothing of the kind when the browser refuses", async () => {
  copied.mockResolvedValue(false);
  const refused = vi.fn();
  render(<CopyButton label="Copy the link" text={() => "x"} onRefused={refused} />);
  fireEvent.click(screen.getByRole("button", { name: "Copy the link" }));
  await act(() => vi.advanceTimersByTimeAsync(0));
  expect(refused).toHaveBeenCalledOnce();
  expect(screen.queryByRole("button", { name: "Copied" })).toBeNull();
});
