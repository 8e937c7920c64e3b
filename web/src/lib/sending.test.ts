import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { useAuth } from "@/stores/auth";
import { patchRoom, resetChat, roomOf } from "@/stores/chat";
import { EMPTY } from "@/stores/timeline";
import { unsentOf } from "@/stores/unsent";
import { ApiError } from "./errors";
import type { Account, Message } from "./types";

// Nothing is tested of the wire: `call` is REST, `request` the socket.
const { call, request } = vi.hoisted(() => ({ call: vi.fn(), request: vi.fn() }));
vi.mock("./api", () => ({ call }));
vi.mock("./socket", () => ({ request, tell: vi.fn(), isOnline: () => true }));
const { sendMessage } = await import("./sending");

const ADA = { id: "ada", name: "Ada", avatarUrl: null, avatarColor: "#0f766e" };

interface Sent {
  sessionId: string;
  content: string;
  clientMsgId: string;
}

function stored({ sessionId, content, clientMsgId }: Sent, seq = 1): Message {
  const createdAt = "2026-01-01T00:00:00.000Z";
  return { id: `of ${content}`, sessionId, seq, sender: ADA, content, createdAt, clientMsgId, replyTo: null, mentions: [], attachments: [] };
}

function write(sessionId: string, content: string): void {
  sendMessage({ sessionId, content, replyTo: null, mentions: [], attachments: [] });
}

beforeEach(() => {
  vi.useFakeTimers();
  localStorage.clear();
  resetChat();
  useAuth.setState({ account: ADA as Account });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("what is sent", () => {
  it("waits for the slow mode of its own conversation alone", async () => {
    let isSlow = true;
    const taken: string[] = [];
    request.mockImplementation(async (_: string, sent: Sent) => {
      if (sent.sessionId === "slow" && isSlow) {
        throw new ApiError({ code: "slow_mode", message: "wait", retryable: true, retryAfterMs: 60_000 });
      }
      taken.push(sent.content);
      return { message: stored(sent) };
    });
    write("slow", "first");
    write("slow", "second");
    write("quick", "third");
    await vi.advanceTimersByTimeAsync(0);
    expect(taken).toEqual(["third"]);
    expect(unsentOf("ada").map((each) => each.content)).toEqual(["first", "second"]);
    isSlow = false;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(taken).toEqual(["third", "first", "second"]);
    expect(unsentOf("ada")).toEqual([]);
  });

  it("does not wait for ever where an old place is shown: the newest page comes", async () => {
    patchRoom("s", { timeline: { ...EMPTY, epoch: "e", seq: 1, hasAfter: true } });
    request.mockImplementation(async (_: string, sent: Sent) => ({ message: stored(sent, 2) }));
    call.mockImplementation(async () => {
      const sent = request.mock.lastCall?.[1] as Sent;
      return { messages: [stored(sent, 2)], hasBefore: true, hasAfter: false, epoch: "e", seq: 2 };
    });
    write("s", "here");
    await vi.advanceTimersByTimeAsync(0);
    expect(roomOf("s").timeline.rows.map((row) => row.status)).toEqual(["sent"]);
  });
});
