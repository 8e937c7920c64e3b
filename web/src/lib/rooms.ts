/** Opening, filling and reading conversations: what happens between the store and the server. */
import { useAuth } from "@/stores/auth";
import {
  patchRoom,
  patchSession,
  patchTimeline,
  placeSession,
  roomOf,
  takeList,
  useChat,
} from "@/stores/chat";
import { onlineHeard, presenceHeard, typersSet } from "@/stores/presence";
import { fromPage, withDraft, withFailure, withMissed, withPageAfter, withPageBefore } from "@/stores/timeline";
import { unsentOf } from "@/stores/unsent";
import { call } from "./api";
import { explain, toApiError } from "./errors";
import { isOnline, request, tell } from "./socket";
import type { HistoryAnswer, Joined, Position, SessionPage, SessionSummary } from "./types";

const PAGE = 50; // messages of one page of history
const LIVE_ROOMS = 20; // joined at once; the one that was open longest ago is left
const JOIN_AGAIN_MS = 2000; // after an answer that was lost, or said "later" without saying when
const TYPING_MS = 8000; // the server's expiry of a typing that nobody renews

const joining = new Map<string, Promise<void>>();
let lately: string[] = []; // joined rooms, the one opened last first
let listings = 0; // how often the list was asked for
let listed = 0; // which of these is shown: an older answer does not replace a newer one

/** Read the whole list of conversations, page by page. */
export async function loadSessions(): Promise<void> {
  listings += 1;
  const turn = listings;
  const asked = useChat.getState().sessions;
  try {
    let cursor: string | null = null;
    const all: SessionSummary[] = [];
    do {
      const params: Record<string, string> = cursor ? { cursor, limit: "100" } : { limit: "100" };
      const page: SessionPage = await call<SessionPage>({ url: "/chat/sessions", params });
      all.push(...page.sessions);
      cursor = page.nextCursor;
    } while (cursor);
    if (turn < listed) return;
    listed = turn;
    takeList(all, asked);
  } catch (trouble) {
    if (turn >= listed) useChat.setState({ listFailure: explain(trouble) });
  }
}

/** Show a conversation; its stream begins, what was missed is fetched. */
export function openRoom(sessionId: string): void {
  useChat.setState({ openId: sessionId, replyTo: null, editing: null });
  const session = useChat.getState().sessions[sessionId];
  const hasNews = session !== undefined && session.unreadCount > 0;
  patchRoom(sessionId, { unreadFrom: hasNews ? session.lastReadSeq : null });
  showUnsent(sessionId);
  void joinRoom(sessionId);
}

function showUnsent(sessionId: string): void {
  const account = useAuth.getState().account;
  if (!account) return;
  for (const draft of unsentOf(account.id)) {
    if (draft.sessionId !== sessionId) continue;
    patchTimeline(sessionId, (timeline) =>
      withFailure(withDraft(timeline, draft), draft.clientMsgId, draft.failure),
    );
  }
}

/** Take up a conversation's stream, once at a time. */
export function joinRoom(sessionId: string): Promise<void> {
  const running = joining.get(sessionId);
  if (running) return running;
  const work = join(sessionId).finally(() => joining.delete(sessionId));
  joining.set(sessionId, work);
  return work;
}

async function join(sessionId: string): Promise<void> {
  if (!isOnline()) return; // the connection joins what is open when it comes
  lately = [sessionId, ...lately.filter((each) => each !== sessionId)];
  if (roomOf(sessionId).isJoined) return;
  patchRoom(sessionId, { isLoading: roomOf(sessionId).timeline.epoch === null, failure: null });
  const { epoch, seq } = roomOf(sessionId).timeline;
  try {
    const since = epoch === null ? {} : { since: { epoch, seq } };
    joined(await request("session:join", { sessionId, limit: PAGE, ...since }));
  } catch (trouble) {
    const error = toApiError(trouble);
    patchRoom(sessionId, { isLoading: false, failure: error.code === "network" ? null : explain(error) });
    // Without a connection the next one joins it; with one nobody else would.
    if (error.isRetryable && isOnline()) {
      setTimeout(() => {
        if (useChat.getState().openId === sessionId) void joinRoom(sessionId);
      }, error.retryAfterMs ?? JOIN_AGAIN_MS);
    }
    return;
  }
  for (const old of lately.splice(LIVE_ROOMS)) leaveRoom(old);
}

function joined(answer: Joined): void {
  const { sessionId, messages, epoch, seq } = answer;
  patchTimeline(sessionId, (timeline) =>
    answer.recovered
      ? withMissed(timeline, { messages, epoch, seq })
      : fromPage(timeline, { messages, epoch, seq, hasBefore: answer.hasMore, hasAfter: false }),
  );
  patchRoom(sessionId, {
    members: Object.fromEntries(answer.members.map((each) => [each.user.id, each])),
    isJoined: true,
    isLoading: false,
    failure: null,
  });
  const last = messages.at(-1);
  placeSession(answer);
  if (last && !answer.recovered) patchSession(sessionId, { lastMessage: last });
  presenceHeard(answer.presence);
  if (answer.online != null) onlineHeard(sessionId, answer.online);
  typersSet(sessionId, answer.typing, TYPING_MS);
}

/** Stop a conversation's stream; its unread count still comes. */
export function leaveRoom(sessionId: string): void {
  if (!roomOf(sessionId).isJoined) return;
  patchRoom(sessionId, { isJoined: false });
  tell("session:leave", { sessionId });
}

/** A change is missing between what is shown and what came: ask for it. */
export function repairRoom(sessionId: string): void {
  patchRoom(sessionId, { isJoined: false });
  void joinRoom(sessionId);
}

/** Take up the streams after a connect; a recovered connection has them already. */
export function rejoin(positions: readonly Position[], isRecovered: boolean): void {
  const { rooms, openId, sessions } = useChat.getState();
  for (const position of positions) placeSession(position);
  const isKnown = positions.every((each) => sessions[each.sessionId]) && useChat.getState().isListed;
  // Who was away for long has missed what was last said, who has gone and what has a new name.
  if (!isKnown || !isRecovered) void loadSessions();
  if (isRecovered) {
    // Its join may have been under way when the connection broke: an answer is not recovered.
    if (openId !== null && !rooms[openId]?.isJoined) void joinRoom(openId);
    return;
  }
  const wanted = Object.keys(rooms).filter((id) => rooms[id]?.isJoined || id === openId);
  for (const id of Object.keys(rooms)) patchRoom(id, { isJoined: false });
  for (const id of wanted) void joinRoom(id);
}

/** Read the page before what is shown. */
export async function loadBefore(sessionId: string): Promise<void> {
  const room = roomOf(sessionId);
  const first = room.timeline.rows[0];
  if (room.isLoading || !room.timeline.hasBefore || first?.status !== "sent") return;
  patchRoom(sessionId, { isLoading: true });
  try {
    const page = await history(sessionId, { beforeSeq: first.message.seq });
    patchTimeline(sessionId, (timeline) =>
      // Another page may be shown by now: there it would stand before a hole.
      timeline.rows[0]?.key === first.key ? withPageBefore(timeline, page.messages, page.hasBefore) : timeline,
    );
  } finally {
    patchRoom(sessionId, { isLoading: false });
  }
}

/** Read the page behind an old place that is shown. */
export async function loadAfter(sessionId: string): Promise<void> {
  const room = roomOf(sessionId);
  const last = room.timeline.rows.findLast((row) => row.status === "sent");
  if (room.isLoading || !room.timeline.hasAfter || !last) return;
  patchRoom(sessionId, { isLoading: true });
  try {
    const page = await history(sessionId, { afterSeq: last.message.seq });
    const isBehind = roomOf(sessionId).timeline.rows.findLast((row) => row.status === "sent")?.key === last.key;
    if (!isBehind) return; // another page is shown by now
    patchTimeline(sessionId, (timeline) => withPageAfter(timeline, page.messages, page.hasAfter));
    catchUp(sessionId, page);
  } finally {
    patchRoom(sessionId, { isLoading: false });
  }
}

/** Show the place of a message, wherever it is. */
export async function showMessage(sessionId: string, messageId: string): Promise<void> {
  await joinRoom(sessionId); // its newest page would take the place of the one with the message
  const isShown = roomOf(sessionId).timeline.rows.some((row) => row.message.id === messageId);
  if (isShown) return;
  const page = await call<HistoryAnswer>({
    url: `/chat/sessions/${sessionId}/messages`,
    params: { aroundId: messageId, limit: PAGE },
  });
  showPage(sessionId, page);
}

function showPage(sessionId: string, page: HistoryAnswer): void {
  const { timeline } = roomOf(sessionId);
  const seq = timeline.epoch === page.epoch ? Math.max(timeline.seq, page.seq) : page.seq;
  patchTimeline(sessionId, (shown) => fromPage(shown, { ...page, seq }));
  catchUp(sessionId, page);
}

/** Ask for what came live while the newest page was on its way: the page does not have it. */
function catchUp(sessionId: string, { epoch, seq, hasAfter }: HistoryAnswer): void {
  const { timeline } = roomOf(sessionId);
  if (hasAfter || timeline.epoch !== epoch || timeline.seq <= seq) return;
  patchTimeline(sessionId, (shown) => ({ ...shown, seq }));
  repairRoom(sessionId);
}

/** Go back to the newest messages. */
export async function showNewest(sessionId: string): Promise<void> {
  if (!roomOf(sessionId).timeline.hasAfter) return;
  showPage(sessionId, await history(sessionId, {}));
}

function history(sessionId: string, place: { beforeSeq?: number; afterSeq?: number }): Promise<HistoryAnswer> {
  return call<HistoryAnswer>({
    url: `/chat/sessions/${sessionId}/messages`,
    params: { ...place, limit: PAGE },
  });
}

/** Move the read marker to the newest message that has been seen; never back. */
export function markRead(sessionId: string, seq: number): void {
  const session = useChat.getState().sessions[sessionId];
  if (!session) return;
  if (session.lastReadSeq >= seq && session.unreadCount === 0 && !session.markedUnread) return;
  patchSession(sessionId, { lastReadSeq: Math.max(seq, session.lastReadSeq), markedUnread: false });
  void request("message:read", { sessionId, seq }).then(placeSession, () => undefined);
}

/** Forget which rooms were open: another user begins. */
export function resetRooms(): void {
  lately = [];
  joining.clear();
  listed = listings + 1; // what is on its way is the one's before
  listings = listed;
}

