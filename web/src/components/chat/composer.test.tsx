import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Account, Message, SessionSummary } from "@/lib/types";
import { useAuth } from "@/stores/auth";
import { patchTimeline, resetChat, useChat } from "@/stores/chat";
import { withStored } from "@/stores/timeline";
import { draftOf, keepDraft } from "@/stores/unsent";
import { Composer } from "./composer";

const SESSION = { id: "s", kind: "GROUP", role: "MEMBER", archivedAt: null, readOnly: false } as SessionSummary;

const box = (): HTMLTextAreaElement => screen.getByRole("textbox", { name: "Message" });

beforeEach(() => {
  localStorage.clear();
  resetChat();
  const ada = { id: "ada", name: "Ada", avatarUrl: null, avatarColor: "#0f766e" };
  useAuth.setState({ account: ada as Account });
  const message = { id: "m", sessionId: "s", seq: 1, sender: ada, content: "what was said", mentions: [], attachments: [] };
  patchTimeline("s", (timeline) => withStored(timeline, [message as unknown as Message]));
});
afterEach(cleanup);

it.each(["half a thought", ""])("after an edit the box holds the draft that was there before: %j", (draft) => {
  keepDraft("ada", "s", draft);
  render(<Composer session={SESSION} />);
  expect(box().value).toBe(draft);
  act(() => useChat.setState({ editing: "m" }));
  expect(box().value).toBe("what was said");
  act(() => useChat.setState({ editing: null }));
  expect(box().value).toBe(draft);
  expect(draftOf("ada", "s")).toBe(draft);
});
