import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Guard } from "@/components/auth/guard";
import type { Config } from "@/lib/config";
import type { Account, Message, SessionSummary } from "@/lib/types";
import { useAuth } from "@/stores/auth";
import { patchTimeline, resetChat, useChat } from "@/stores/chat";
import { EMPTY, withStored } from "@/stores/timeline";
import { draftOf, keepDraft } from "@/stores/unsent";
import { Composer } from "./composer";

const { request, addFiles } = vi.hoisted(() => ({ request: vi.fn(), addFiles: vi.fn() }));
vi.mock("@/lib/uploads", async (original) => ({ ...(await original<object>()), addFiles }));
vi.mock("@/lib/socket", () => ({ request, tell: vi.fn(), isOnline: () => true }));
vi.mock("next/navigation", () => ({ useRouter: () => ({ replace: vi.fn() }) }));

const ADA = { id: "ada", name: "Ada", avatarUrl: null, avatarColor: "#0f766e" };
const MESSAGE = { id: "m", sessionId: "s", seq: 1, sender: ADA, content: "what was said", mentions: [], attachments: [] } as unknown as Message;
const SESSION = { id: "s", kind: "GROUP", role: "MEMBER", archivedAt: null, readOnly: false } as SessionSummary;

const box = (): HTMLTextAreaElement => screen.getByRole("textbox", { name: "Message" });

beforeEach(() => {
  localStorage.clear();
  resetChat();
  useAuth.setState({ account: ADA as Account });
  patchTimeline("s", (timeline) => withStored(timeline, [MESSAGE]));
  addFiles.mockReset();
  request.mockReset().mockReturnValue(new Promise(() => undefined));
});
afterEach(cleanup);

it.each(["half a thought", ""])("after an edit the box holds the draft that was there before: %j", (draft) => {
  keepDraft("ada", "s", draft);
  render(<Composer session={SESSION} />);
  expect(box().value).toBe(draft);
  act(() => useChat.setState({ editing: MESSAGE }));
  expect(box().value).toBe("what was said");
  act(() => useChat.setState({ editing: null }));
  expect(box().value).toBe(draft);
  expect(draftOf("ada", "s")).toBe(draft);
});

it("an edit is kept as one, though the message has left the list", async () => {
  request.mockResolvedValue({ message: { ...MESSAGE, content: "mended" } });
  render(<Composer session={SESSION} />);
  act(() => useChat.setState({ editing: MESSAGE }));
  act(() => patchTimeline("s", () => EMPTY));
  expect(screen.getByText("Editing")).toBeTruthy();
  fireEvent.change(box(), { target: { value: "mended" } });
  fireEvent.keyDown(box(), { key: "Enter" });
  await vi.waitFor(() => expect(useChat.getState().editing).toBeNull());
  expect(request).toHaveBeenCalledExactlyOnceWith("message:edit", { messageId: "m", content: "mended", expectedVersion: 1 });
});

it("an answer is one to its message, though that has left the list", async () => {
  render(<Composer session={SESSION} />);
  act(() => useChat.setState({ replyTo: MESSAGE }));
  act(() => patchTimeline("s", () => EMPTY));
  expect(screen.getByText("Reply to Ada")).toBeTruthy();
  fireEvent.change(box(), { target: { value: "yes" } });
  fireEvent.keyDown(box(), { key: "Enter" });
  await vi.waitFor(() => expect(request).toHaveBeenCalledWith("message:send", expect.objectContaining({ content: "yes", replyToId: "m" })));
});

it("an Enter with which Safari ends a composition sends nothing", () => {
  render(<Composer session={SESSION} />);
  fireEvent.change(box(), { target: { value: "にほん" } });
  fireEvent.keyDown(box(), { key: "Enter", keyCode: 229 });
  expect(box().value).toBe("にほん");
  expect(request).not.toHaveBeenCalled();
  fireEvent.keyDown(box(), { key: "Enter", keyCode: 13 });
  expect(box().value).toBe("");
});

it("a draft stays its writer's when another tab logs in as somebody else", () => {
  useAuth.setState({ state: "in" });
  render(
    <Guard>
      <Composer session={SESSION} />
    </Guard>,
  );
  fireEvent.change(box(), { target: { value: "half a thought" } });
  act(() => useAuth.setState({ account: { ...ADA, id: "bob", name: "Bob" } as Account }));
  expect(box().value).toBe("");
  expect(draftOf("bob", "s")).toBe("");
  expect(draftOf("ada", "s")).toBe("half a thought");
});

it.each([
  ["a picture", "", "image.png", 1],
  ["cells of a spreadsheet, with their picture", "a\tb", "image.png", 0],
  ["a file, with its name", "plan.pdf", "plan.pdf", 1],
])("a paste takes files where no text is meant: %s", (_, text, name, count) => {
  useAuth.setState({ config: { features: { files: true } } as Config });
  render(<Composer session={SESSION} />);
  const isLeftToBrowser = fireEvent.paste(box(), { clipboardData: { files: [new File(["x"], name)], getData: () => text } });
  expect(addFiles).toHaveBeenCalledTimes(count);
  expect(isLeftToBrowser).toBe(count === 0);
});
