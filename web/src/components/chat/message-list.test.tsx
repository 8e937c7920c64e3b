import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { SessionSummary } from "@/lib/types";
import { patchTimeline, resetChat } from "@/stores/chat";
import { fromPage } from "@/stores/timeline";
import { MessageList } from "./message-list";

const SESSION = { id: "s", unreadCount: 0 } as SessionSummary;
const NOBODY = "Nobody has said anything yet. Be the first.";

beforeEach(() => {
  resetChat();
  // jsdom has none.
  const Observer = class {
    observe = vi.fn();
    unobserve = vi.fn();
    disconnect = vi.fn();
  };
  vi.stubGlobal("ResizeObserver", Observer);
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

it("a conversation is called empty when that is known, and not before it was loaded", () => {
  render(<MessageList session={SESSION} />);
  expect(screen.queryByText(NOBODY)).toBeNull();
  const page = { messages: [], epoch: "e", seq: 0, hasBefore: false, hasAfter: false };
  act(() => patchTimeline("s", (timeline) => fromPage(timeline, page)));
  expect(screen.getByText(NOBODY)).toBeTruthy();
});
