/** Sending: a message is shown at once, kept until it is stored, and stored once. */
import { useAuth } from "@/stores/auth";
import { patchSession, patchTimeline, roomOf, useChat } from "@/stores/chat";
import { withDraft, withFailure, withStored, withoutDraft } from "@/stores/timeline";
import { dropUnsent, keepUnsent, markUnsent, unsentOf, type Unsent } from "@/stores/unsent";
import { explain, toApiError } from "./errors";
import { newId } from "./ids";
import { showNewest } from "./rooms";
import { isOnline, request } from "./socket";
import type { Message, Reply, User } from "./types";

const RETRY_MS = 2000; // after a refusal that says "later" without saying when

/** What is written in the composer. */
export interface Written {
  sessionId: string;
  content: string;
  replyTo: Reply | null;
  mentions: Message["mentions"];
  attachments: Message["attachments"];
}

function me(): User | null {
  const account = useAuth.getState().account;
  if (!account) return null;
  const { id, name, avatarUrl, avatarColor } = account;
  return { id, name, avatarUrl, avatarColor };
}

let flushing: Promise<void> | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
const slow = new Set<string>(); // conversations that take no message yet

/** Show a message and send it, now or when there is a connection again. */
export function sendMessage(written: Written): void {
  const sender = me();
  if (!sender) return;
  const draft: Unsent = {
    ...written,
    clientMsgId: newId(),
    createdAt: new Date().toISOString(),
    sender,
    failure: null,
  };
  keepUnsent(sender.id, draft);
  patchTimeline(written.sessionId, (timeline) => withDraft(timeline, draft));
  void flushUnsent();
}

/** Send what waits, in the order in which it was written; once at a time. */
export function flushUnsent(): Promise<void> {
  flushing ??= flush().finally(() => {
    flushing = null;
    // What was written while the last answer was on its way.
    const sender = me();
    if (sender && isOnline() && timer === undefined && nextOf(sender.id)) {
      void flushUnsent();
    }
  });
  return flushing;
}

async function flush(): Promise<void> {
  const sender = me();
  while (sender && isOnline()) {
    const draft = nextOf(sender.id);
    if (!draft) return;
    const isGoingOn = await sendOne(sender.id, draft);
    if (!isGoingOn) return;
  }
}

/** The oldest that may be sent now: slow mode of one conversation holds up no other. */
function nextOf(userId: string): Unsent | undefined {
  return unsentOf(userId).find((each) => each.failure === null && !slow.has(each.sessionId));
}

/** Send one message; returns whether the next one may follow now. */
async function sendOne(userId: string, draft: Unsent): Promise<boolean> {
  const { sessionId, content, clientMsgId, replyTo, mentions, attachments } = draft;
  try {
    const { message } = await request("message:send", {
      sessionId,
      content,
      clientMsgId,
      ...(replyTo ? { replyToId: replyTo.id } : {}),
      ...(mentions.length > 0 ? { mentions } : {}),
      ...(attachments.length > 0 ? { attachments: attachments.map((file) => file.id) } : {}),
    });
    settleSent(message);
    return true;
  } catch (trouble) {
    const error = toApiError(trouble);
    if (error.code === "network") return false; // the next connection takes it up
    if (error.code === "slow_mode") {
      slow.add(sessionId);
      setTimeout(() => {
        slow.delete(sessionId);
        void flushUnsent();
      }, error.retryAfterMs ?? RETRY_MS);
      return true;
    }
    if (error.isRetryable) {
      later(error.retryAfterMs ?? RETRY_MS);
      return false;
    }
    const failure = explain(error);
    markUnsent(userId, clientMsgId, failure);
    patchTimeline(sessionId, (timeline) => withFailure(timeline, clientMsgId, failure));
    return true;
  }
}

function later(ms: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    timer = undefined;
    void flushUnsent();
  }, ms);
}

/** A message of ours is stored: by its ack or by its broadcast, whichever came first. */
export function settleSent(message: Message): void {
  const sender = me();
  if (!sender || message.sender.id !== sender.id) return;
  if (message.clientMsgId) dropUnsent(sender.id, message.clientMsgId);
  const { rows, hasAfter } = roomOf(message.sessionId).timeline;
  if (!hasAfter) patchTimeline(message.sessionId, (timeline) => withStored(timeline, [message]));
  else if (rows.some((row) => row.key === message.clientMsgId)) {
    // Written while an old place is shown: there it would wait for ever.
    void showNewest(message.sessionId).catch(() => undefined);
  }
  const known = useChat.getState().sessions[message.sessionId]?.lastMessage;
  if (!known || known.seq < message.seq) patchSession(message.sessionId, { lastMessage: message });
}

/** Try a refused message again. */
export function retryMessage(sessionId: string, clientMsgId: string): void {
  const sender = me();
  if (!sender) return;
  markUnsent(sender.id, clientMsgId, null);
  patchTimeline(sessionId, (timeline) => withFailure(timeline, clientMsgId, null));
  void flushUnsent();
}

/** Give up a message that is not stored. */
export function discardMessage(sessionId: string, clientMsgId: string): void {
  const sender = me();
  if (sender) dropUnsent(sender.id, clientMsgId);
  patchTimeline(sessionId, (timeline) => withoutDraft(timeline, clientMsgId));
}
