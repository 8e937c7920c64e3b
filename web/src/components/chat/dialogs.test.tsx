import { act, cleanup, render } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { SessionSummary } from "@/lib/types";
import { dropSession, resetChat, useChat } from "@/stores/chat";
import { openDialog, useUi } from "@/stores/ui";
import { Dialogs } from "./dialogs";

vi.mock("./details-dialog", () => ({ DetailsDialog: () => null }));
vi.mock("./help-dialog", () => ({ HelpDialog: () => null }));
vi.mock("./pins-dialog", () => ({ PinsDialog: () => null }));

beforeEach(() => {
  resetChat();
  useChat.setState({ sessions: { s: { id: "s" } as SessionSummary }, openId: "s" });
});
afterEach(cleanup);

it.each([
  ["details", null],
  ["pins", null],
  ["help", "help"],
] as const)("who is removed from the open conversation has a window about it closed, and no other: %s", (dialog, left) => {
  openDialog(dialog);
  render(<Dialogs />);
  expect(useUi.getState().dialog).toBe(dialog);
  act(() => dropSession("s"));
  expect(useUi.getState().dialog).toBe(left);
});
