import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { setLink } from "@/stores/ui";
import { ConnectionBanner } from "./connection-banner";

beforeEach(() => {
  vi.useFakeTimers();
  setLink({ state: "connecting", retryAt: null, reason: null, hasBeenOnline: false });
  render(<ConnectionBanner />);
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const banner = (): string | null => screen.queryByRole("status")?.textContent ?? null;
const pass = (ms: number): void => act(() => void vi.advanceTimersByTime(ms));

it("a first connect is told when it takes long, and until it has come", () => {
  pass(2999);
  expect(banner()).toBeNull();
  pass(1);
  expect(banner()).toBe("Connecting…");
  act(() => setLink({ state: "online", hasBeenOnline: true }));
  expect(banner()).toBeNull();
});

it("a second try is told at once, though nothing has come yet", () => {
  pass(2000);
  act(() => setLink({ state: "waiting", retryAt: Date.now() + 1000 }));
  expect(banner()).toContain("You are offline.");
  pass(1000);
  act(() => setLink({ state: "connecting", retryAt: null }));
  expect(banner()).toBe("Connecting…");
});
