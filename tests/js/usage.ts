// A front end as the compiler sees it; `@ts-expect-error` is an error where there is none.
import { io, type Socket } from "socket.io-client";
import type { ClientEvents, Message, ServerEvents } from "../../web/chatd.d.ts";

const socket: Socket<ServerEvents, ClientEvents> = io("http://localhost:8000", {
  auth: { token: "…" },
});
const shown: Message[] = [];

socket.on("message:new", (message, offset) => {
  shown.push(message);
  offset.toUpperCase();
});
socket.on("user:typing", ({ userId, isTyping }) => [userId.length, isTyping ? 1 : 0]);

export async function send(sessionId: string, content: string): Promise<number> {
  const answer = await socket.emitWithAck("message:send", { sessionId, content });
  if (!answer.ok) {
    const { code, retryAfterMs } = answer.error;
    return code === "rate_limited" ? (retryAfterMs ?? 0) : -1;
  }
  shown.push(answer.message);
  return answer.message.seq;
}

export async function join(sessionId: string): Promise<void> {
  const since = { epoch: "…", seq: 7 };
  const joined = await socket.timeout(5000).emitWithAck("session:join", { sessionId, since });
  if (joined.ok && !joined.recovered) {
    shown.splice(0, shown.length, ...joined.messages);
  }
}

socket.emit("typing:start", { sessionId: "…" }, (answer) => answer.ok satisfies boolean);

// @ts-expect-error: there is no such event of the server
socket.on("message:old", () => 0);
// @ts-expect-error: a durable event has one object and its offset
socket.on("message:new", (message, offset, more) => more);
// @ts-expect-error: what is ephemeral has no offset
socket.on("user:typing", (typing, offset) => offset);
// @ts-expect-error: there is no such event of a client
socket.emit("message:sent", {}, () => 0);
// @ts-expect-error: the session is missing
socket.emit("message:send", { content: "hello" }, () => 0);
// @ts-expect-error: a field that no command has
socket.emit("session:list", { page: 2 }, () => 0);
socket.emit("session:list", {}, (answer) => {
  // @ts-expect-error: it may be a refusal
  answer.sessions.at(0);
  if (!answer.ok) {
    // @ts-expect-error: no such code
    answer.error.code === "no_such_code";
  }
});
