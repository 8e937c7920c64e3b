import { beforeEach, describe, expect, it, vi } from "vitest";
import { dropSession, patchRoom, patchSession, putSessions, resetChat, roomOf, useChat } from "@/stores/chat";
import { EMPTY, withStored } from "@/stores/timeline";
import type { HistoryAnswer, Message, SessionSummary } from "./types";

// Nothing is tested of the wire: `call` is REST, `request` the socket.
const { call, request } = vi.hoisted(() => ({ call: vi.fn(), request: vi.fn() }));
vi.mock("./api", () => ({ call }));
vi.mock("./socket", () => ({ request, tell: vi.fn(), isOnline: () => true }));
const { loadAfter, loadBefore, loadSessions, markRead, rejoin, resetRooms, showMessage, showNewest } = await import("./rooms");

function message(seq: number): Message {
  return {
    id: `m${seq}`,
    sessionId: "s",
    seq,
    sender: { id: "ada", name: "Ada", avatarUrl: null, avatarColor: "#0f766e" },
    content: "",
    createdAt: "2026-01-01T00:00:00.000Z",
    clientMsgId: null,
    replyTo: null,
    mentions: [],
    attachments: [],
  };
}

function session(change: Partial<SessionSummary> = {}): SessionSummary {
  return { id: "s", seq: 9, unreadCount: 0, mentionCount: 0, lastReadSeq: 9, markedUnread: false, ...change } as SessionSummary;
}

function page(seqs: number[], seq: number, change: Partial<HistoryAnswer> = {}): HistoryAnswer {
  return { messages: seqs.map(message), hasBefore: false, hasAfter: false, epoch: "e", seq, ...change };
}

function shown(): number[] {
  return roomOf("s").timeline.rows.map((row) => row.message.seq);
}

function show(seqs: number[], seq: number, change: { hasBefore?: boolean; hasAfter?: boolean } = {}): void {
  const timeline = withStored({ ...EMPTY, epoch: "e", seq, ...change }, seqs.map(message));
  patchRoom("s", { timeline, isJoined: true });
}

beforeEach(() => {
  resetChat();
  resetRooms();
  call.mockReset();
  request.mockReset().mockReturnValue(new Promise(() => undefined));
});

describe("a page that was on its way while a message came live", () => {
  it.each([
    ["the page after", () => loadAfter("s"), [3]],
    ["the newest page", () => showNewest("s"), [2, 3]],
  ])("%s: the message is asked for", async (_, load, seqs) => {
    show([1, 2], 3, { hasAfter: true });
    call.mockImplementation(async () => {
      patchRoom("s", { timeline: { ...roomOf("s").timeline, seq: 4 } }); // 4 was heard, and not shown
      return page(seqs, 3);
    });
    await load();
    expect(roomOf("s").timeline.hasAfter).toBe(false);
    expect(request).toHaveBeenCalledWith("session:join", expect.objectContaining({ since: { epoch: "e", seq: 3 } }));
  });

  it("is asked for nothing when there was none", async () => {
    show([1, 2], 3, { hasAfter: true });
    call.mockResolvedValue(page([3], 3));
    await loadAfter("s");
    expect(shown()).toEqual([1, 2, 3]);
    expect(request).not.toHaveBeenCalled();
  });
});

describe("a page that comes after another one has taken the place", () => {
  it("is not put in front of a hole", async () => {
    show([50, 51], 60, { hasBefore: true });
    call.mockImplementation(async () => {
      show([500, 501], 501, { hasBefore: true });
      return page([48, 49], 60, { hasBefore: true });
    });
    await loadBefore("s");
    expect(shown()).toEqual([500, 501]);
    expect(roomOf("s")).toMatchObject({ isLoading: false, timeline: { hasBefore: true } });
  });

  it("is not put behind a hole", async () => {
    show([50, 51], 60, { hasAfter: true });
    call.mockImplementation(async () => {
      show([10, 11], 60, { hasAfter: true });
      return page([52, 53], 60);
    });
    await loadAfter("s");
    expect(shown()).toEqual([10, 11]);
    expect(roomOf("s").timeline.hasAfter).toBe(true);
  });

  it("is what shows a message, also when the conversation is only being joined", async () => {
    const answer = { sessionId: "s", recovered: false, hasMore: true, epoch: "e", seq: 9, unreadCount: 0, mentionCount: 0, lastReadSeq: 9 };
    request.mockResolvedValue({ ...answer, messages: [message(8), message(9)], members: [], presence: [], typing: [] });
    call.mockResolvedValue(page([1, 2], 9, { hasAfter: true }));
    await showMessage("s", "m2");
    expect(shown()).toEqual([1, 2]);
  });
});

describe("the list of conversations", () => {
  const listed = (): string[] => Object.keys(useChat.getState().sessions);
  const answer = (id: string) => ({ sessions: [session({ id })], nextCursor: null });

  it("is the newest answer's, in whatever order they come", async () => {
    const late: ((page: unknown) => void)[] = [];
    call.mockReturnValueOnce(new Promise((resolve) => late.push(resolve)));
    call.mockResolvedValueOnce(answer("new"));
    const first = loadSessions();
    await loadSessions();
    late[0]?.(answer("old"));
    await first;
    expect(listed()).toEqual(["new"]);
  });

  it("is nobody else's: what was asked for before a logout is not shown", async () => {
    call.mockResolvedValue(answer("of the one before"));
    const asked = loadSessions();
    resetRooms();
    await asked;
    expect(listed()).toEqual([]);
  });

  it("takes nothing back of what was heard while it was on its way", async () => {
    const sessions = ["left", "news", "read", "quiet"].map((id) => session({ id, unreadCount: 0, lastReadSeq: 9 }));
    useChat.setState({ sessions: Object.fromEntries(sessions.map((each) => [each.id, each])) });
    call.mockImplementation(async () => {
      dropSession("left");
      patchSession("news", { unreadCount: 1, lastMessage: message(10) });
      patchSession("read", { unreadCount: 0, lastReadSeq: 10 });
      putSessions([session({ id: "come" })]);
      return { sessions: sessions.map((each) => ({ ...each, name: "Tea", unreadCount: each.id === "read" ? 1 : 0 })), nextCursor: null };
    });
    await loadSessions();
    expect(listed().toSorted()).toEqual(["come", "news", "quiet", "read"]);
    const { news, read, quiet } = useChat.getState().sessions;
    expect(news).toMatchObject({ name: "Tea", unreadCount: 1, lastMessage: { seq: 10 } });
    expect(read).toMatchObject({ name: "Tea", unreadCount: 0, lastReadSeq: 10 });
    expect(quiet).toMatchObject({ name: "Tea", unreadCount: 0, lastReadSeq: 9 });
  });

  it("forgets what is not in it any more", async () => {
    useChat.setState({ sessions: { s: session() } });
    call.mockResolvedValue(answer("t"));
    await loadSessions();
    expect(listed()).toEqual(["t"]);
  });

  it("is read again by who was away for long, and not after a recovery", () => {
    useChat.setState({ sessions: { s: session() }, isListed: true });
    call.mockResolvedValue(answer("s"));
    rejoin([], true);
    expect(call).not.toHaveBeenCalled();
    rejoin([], false);
    expect(call).toHaveBeenCalledOnce();
  });
});

describe("a recovered connection", () => {
  it("joins what is open and was not answered before the one before broke", () => {
    useChat.setState({ sessions: { s: session() }, isListed: true, openId: "s" });
    show([1, 2], 2);
    patchRoom("s", { isJoined: false });
    rejoin([], true);
    expect(request).toHaveBeenCalledWith("session:join", { sessionId: "s", limit: 50, since: { epoch: "e", seq: 2 } });
  });

  it("leaves alone what it has joined", () => {
    useChat.setState({ sessions: { s: session() }, isListed: true, openId: "s" });
    show([1, 2], 2);
    rejoin([], true);
    expect(request).not.toHaveBeenCalled();
  });
});

describe("the read marker", () => {
  it("moves no more when all is read", () => {
    useChat.setState({ sessions: { s: session() } });
    markRead("s", 9);
    expect(request).not.toHaveBeenCalled();
  });

  it("moves over what was marked unread, though nothing of it counts", () => {
    useChat.setState({ sessions: { s: session({ markedUnread: true }) } });
    markRead("s", 9);
    expect(request).toHaveBeenCalledWith("message:read", { sessionId: "s", seq: 9 });
    expect(useChat.getState().sessions["s"]?.markedUnread).toBe(false);
  });
});
