/** Talking with the assistant: conversations, questions, answers as they come. */
import {
  aiRoomOf,
  dropAiSession,
  dropStream,
  patchAiMessage,
  patchAiRoom,
  patchStream,
  putAiSession,
  useAi,
  withAiMessages,
  withDelta,
} from "@/stores/ai";
import { say } from "@/components/ui/toast";
import { call } from "./api";
import { explain, toApiError } from "./errors";
import { newId } from "./ids";
import { isOnline, request, type ChatSocket } from "./socket";
import type { AiAttached, AiDelta, AiMessage, AiMessagePage, AiSent, AiSession, AiSessionAnswer, AiSessionPage } from "./types";

const PAGE = 50; // messages of one page

/** Read the conversations with the assistant. */
export async function loadAiSessions(): Promise<void> {
  try {
    const page = await call<AiSessionPage>({ url: "/ai/sessions", params: { limit: 100 } });
    useAi.setState({
      sessions: Object.fromEntries(page.aiSessions.map((each) => [each.id, each])),
      isListed: true,
      listFailure: null,
    });
  } catch (trouble) {
    useAi.setState({ listFailure: explain(trouble) });
  }
}

/** Begin a conversation. Throws ApiError. */
export async function createAiSession(): Promise<AiSession> {
  const { aiSession } = await call<AiSessionAnswer>({ method: "POST", url: "/ai/sessions", data: {} });
  putAiSession(aiSession);
  return aiSession;
}

export async function renameAiSession(id: string, title: string): Promise<void> {
  const request = { method: "PATCH", url: `/ai/sessions/${id}`, data: { title } };
  putAiSession((await call<AiSessionAnswer>(request)).aiSession);
}

export async function deleteAiSession(id: string): Promise<void> {
  await call({ method: "DELETE", url: `/ai/sessions/${id}` });
  dropAiSession(id);
}

/** Show a conversation, and follow the answer that is under way in it. */
export async function openAiSession(id: string): Promise<void> {
  useAi.setState({ openId: id });
  patchAiRoom(id, { isLoading: aiRoomOf(id).messages.length === 0, failure: null });
  try {
    const page = await call<AiMessagePage>({ url: `/ai/sessions/${id}/messages`, params: { limit: PAGE } });
    // The page is the truth: an answer that was made anew has taken another's place.
    patchAiRoom(id, { messages: page.messages, hasBefore: page.hasBefore, isLoading: false });
    for (const message of page.messages) if (message.status === "STREAMING") void follow(message.id);
  } catch (trouble) {
    patchAiRoom(id, { isLoading: false, failure: explain(trouble) });
  }
}

/** Read the page before what is shown. */
export async function loadAiBefore(id: string): Promise<void> {
  const room = aiRoomOf(id);
  const first = room.messages[0];
  if (!first || !room.hasBefore || room.isLoading) return;
  patchAiRoom(id, { isLoading: true });
  try {
    const params = { beforeSeq: first.seq, limit: PAGE };
    const page = await call<AiMessagePage>({ url: `/ai/sessions/${id}/messages`, params });
    patchAiRoom(id, { messages: withAiMessages(page.messages, aiRoomOf(id).messages), hasBefore: page.hasBefore });
  } finally {
    patchAiRoom(id, { isLoading: false });
  }
}

/** Ask. Throws ApiError; what was asked is then not shown. */
export async function ask(id: string, content: string, clientMsgId = newId()): Promise<void> {
  begun(id, await request("ai:send", { aiSessionId: id, content, clientMsgId }));
}

/** Have the last question answered again. */
export async function askAgain(id: string, messageId: string): Promise<void> {
  const sent = await request("ai:retry", { messageId });
  patchAiRoom(id, { messages: aiRoomOf(id).messages.filter((each) => each.id !== messageId) });
  begun(id, sent);
}

function begun(id: string, { userMessage, messageId }: AiSent): void {
  const answer: AiMessage = {
    ...userMessage,
    id: messageId,
    seq: userMessage.seq + 1,
    role: "ASSISTANT",
    status: "STREAMING",
    content: "",
    clientMsgId: null,
  };
  const { messages } = aiRoomOf(id);
  const isKnown = messages.some((each) => each.id === messageId);
  patchAiRoom(id, { messages: withAiMessages(messages, isKnown ? [userMessage] : [userMessage, answer]) });
  const session = useAi.getState().sessions[id];
  if (session) putAiSession({ ...session, activeAt: userMessage.createdAt, runningId: messageId });
}

/** Stop an answer; what has come is kept. Throws ApiError. */
export async function stopAnswer(messageId: string): Promise<void> {
  settled(await request("ai:stop", { messageId }));
}

/** Join an answer from where its text ends here. */
export async function follow(messageId: string): Promise<void> {
  const stream = useAi.getState().streams[messageId];
  if (stream?.isCatchingUp || !isOnline()) return;
  patchStream(messageId, { isCatchingUp: true });
  try {
    settled(await request("ai:attach", { messageId, fromIndex: stream?.text.length ?? 0 }));
  } catch (trouble) {
    patchStream(messageId, { isCatchingUp: false });
    if (toApiError(trouble).code === "not_found") dropStream(messageId);
  }
}

function settled(answer: AiAttached): void {
  const known = useAi.getState().streams[answer.messageId]?.text ?? "";
  const text = withDelta(known, answer.index, answer.text) ?? known;
  const place = placeOf(answer.messageId);
  if (!answer.done) {
    patchStream(answer.messageId, { text, isCatchingUp: false });
    return;
  }
  dropStream(answer.messageId);
  if (!place) return;
  const { status, finishReason, errorCode } = answer;
  patchAiMessage(place, answer.messageId, { content: text, status, finishReason, errorCode });
  ended(place);
}

/** The conversation in which an answer stands, as far as it is shown here. */
function placeOf(messageId: string): string | undefined {
  const { rooms } = useAi.getState();
  return Object.keys(rooms).find((id) => rooms[id]?.messages.some((each) => each.id === messageId));
}

function ended(id: string): void {
  const session = useAi.getState().sessions[id];
  if (session) putAiSession({ ...session, runningId: null });
}

function heardDelta({ messageId, index, text }: AiDelta): void {
  const stream = useAi.getState().streams[messageId];
  const next = withDelta(stream?.text ?? "", index, text);
  if (next === null) void follow(messageId);
  else patchStream(messageId, { text: next });
}

/** Hear what the server says of answers. */
export function bindAssistant(socket: ChatSocket): void {
  socket.on("ai:start", ({ messageId }) => patchStream(messageId, {}));
  socket.on("ai:delta", heardDelta);
  socket.on("ai:done", ({ messageId, aiSessionId, content, finishReason, usage }) => {
    dropStream(messageId);
    if (!aiSessionId) return; // in a session it comes as a message
    const status = finishReason === "stopped" ? "STOPPED" : "COMPLETE";
    patchAiMessage(aiSessionId, messageId, { content, finishReason, usage, status });
    ended(aiSessionId);
  });
  socket.on("ai:error", ({ messageId, aiSessionId, code, message, partial }) => {
    dropStream(messageId);
    if (!aiSessionId) {
      if (!partial) say("The assistant does not answer", message); // what had come is a message
      return;
    }
    const status = partial ? "INTERRUPTED" : "FAILED";
    patchAiMessage(aiSessionId, messageId, { content: partial, status, errorCode: code });
    ended(aiSessionId);
  });
  socket.on("ai:updated", ({ aiSession }) => putAiSession(aiSession));
  socket.on("connection:ready", () => {
    const { openId, streams } = useAi.getState();
    for (const messageId of Object.keys(streams)) patchStream(messageId, { isCatchingUp: false });
    if (openId) void openAiSession(openId);
  });
}
