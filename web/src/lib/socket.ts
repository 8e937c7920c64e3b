/** The one live connection of this tab: when it opens, waits, comes back and ends. */
import { io, type Socket } from "socket.io-client";
import { setLink } from "@/stores/ui";
import { accessToken, apiBase, refreshToken } from "./api";
import { ApiError, toApiError } from "./errors";
import type { Ack, ClientEvents, ConnectionClosing, ServerEvents } from "./types";

const ACK_TIMEOUT_MS = 10_000; // then the answer counts as lost; a message is sent again by its key
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 20_000;
const CROWD = "Too many windows of this account are open. Close one and try again.";

export type ChatSocket = Socket<ServerEvents, ClientEvents>;

/** What the chat does when the connection changes. */
export interface Listeners {
  bind(socket: ChatSocket): void;
  ended(notice: string | null): void;
}

let socket: ChatSocket | null = null;
let listeners: Listeners | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let tries = 0;
let closing: ConnectionClosing | null = null;

/** How long to wait before the next try: doubling, and never all clients at once. */
export function waitBefore(attempt: number, told: number | null, random = Math.random()): number {
  const usual = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return Math.max(told ?? 0, usual * (0.5 + random / 2));
}

function tryLater(told: number | null): void {
  clearTimeout(timer);
  const wait = waitBefore(tries, told);
  tries += 1;
  setLink({ state: "waiting", retryAt: Date.now() + wait });
  timer = setTimeout(tryNow, wait);
}

/** Try to connect at once. */
export function tryNow(): void {
  clearTimeout(timer);
  if (!socket || socket.connected) return;
  setLink({ state: "connecting", retryAt: null });
  socket.connect();
}

function stop(reason: string): void {
  clearTimeout(timer);
  setLink({ state: "stopped", retryAt: null, reason });
}

async function refused(trouble: Error): Promise<void> {
  const ours = socket;
  const refusal = (trouble as Error & { data?: { code?: string; retryAfterMs?: number | null } }).data;
  if (refusal?.code === "token_expired" || refusal?.code === "unauthorized") {
    try {
      await refreshToken();
    } catch (failure) {
      // An ended login has been told by the API; anything else is the network.
      if (toApiError(failure).code === "unauthorized") return;
    }
  }
  if (socket !== ours) return; // logged out meanwhile, and perhaps in again
  if (refusal?.code === "forbidden") stop(trouble.message === "too many connections" ? CROWD : "The server does not let you in.");
  else tryLater(refusal?.retryAfterMs ?? null);
}

function lost(reason: string): void {
  const said = closing;
  closing = null;
  if (reason === "io client disconnect") return;
  if (reason !== "io server disconnect" && said?.reconnect !== false) {
    tryLater(said?.retryAfterMs ?? null);
  } else if (said?.code === 4504) {
    stop(CROWD);
  } else {
    void staysAway();
  }
}

/** The server wants this client to stay away: mostly because its login has ended. */
async function staysAway(): Promise<void> {
  const ours = socket;
  try {
    await refreshToken();
    if (socket === ours) stop("The server has ended this connection.");
  } catch (failure) {
    if (socket !== ours) return; // logged out meanwhile, and perhaps in again
    if (toApiError(failure).code === "unauthorized") listeners?.ended("You were logged out.");
    else stop("The server has ended this connection.");
  }
}

/** Connect, and keep connected until `closeSocket`. */
export function openSocket(chat: Listeners): void {
  closeSocket();
  listeners = chat;
  socket = io(apiBase() || window.location.origin, {
    auth: (give) => {
      accessToken().then(
        (token) => give({ token }),
        () => give({}),
      );
    },
    transports: ["websocket", "polling"],
    tryAllTransports: true, // where a proxy lets no WebSocket through
    reconnection: false, // ours tells when, and can be hurried
    autoConnect: false,
    withCredentials: false,
  });
  socket.on("connection:closing", (event) => {
    closing = event;
  });
  socket.on("auth:expiring", () => void renew());
  socket.on("connect", () => {
    tries = 0;
    setLink({ state: "online", retryAt: null, reason: null, hasBeenOnline: true });
  });
  const { io: manager } = socket;
  socket.on("connect_error", (trouble) => {
    // A proxy that swallows the upgrade to a WebSocket fails nothing: no other transport is tried.
    if (trouble.message === "timeout") manager.opts.transports = ["polling", "websocket"];
    // Only a refusal of CONNECT has data; the rest is the network.
    void refused(trouble);
  });
  socket.on("disconnect", lost);
  chat.bind(socket);
  window.addEventListener("online", tryNow);
  tryNow();
}

async function renew(): Promise<void> {
  try {
    await request("auth:refresh", { accessToken: await refreshToken() });
  } catch {
    // Then the server ends the connection at the token's end, and the next one brings a new token.
  }
}

/** End the connection. */
export function closeSocket(): void {
  clearTimeout(timer);
  window.removeEventListener("online", tryNow);
  socket?.removeAllListeners();
  socket?.disconnect();
  socket = null;
  listeners = null;
  tries = 0;
  closing = null;
  setLink({ state: "off", retryAt: null, reason: null, hasBeenOnline: false });
}

export function isOnline(): boolean {
  return socket?.connected ?? false;
}

type Event = keyof ClientEvents;
type Command<E extends Event> = Parameters<ClientEvents[E]>[0];
type Answer<E extends Event> =
  Parameters<ClientEvents[E]>[1] extends (answer: Ack<infer T>) => void ? T : never;

/**
 * Ask the server over the live connection.
 *
 * Throws ApiError: its refusal, or `network` when there is no connection or it went meanwhile.
 */
export async function request<E extends Event>(event: E, data: Command<E>): Promise<Answer<E>> {
  if (!socket?.connected) throw new ApiError({ code: "network", message: "You are offline.", retryable: true });
  let answer: Ack<Answer<E>>;
  try {
    // The typed overloads of emitWithAck do not follow a generic event name.
    const timed = socket.timeout(ACK_TIMEOUT_MS) as unknown as {
      emitWithAck(name: string, data: unknown): Promise<Ack<Answer<E>>>;
    };
    answer = await timed.emitWithAck(event, data);
  } catch {
    throw new ApiError({ code: "network", message: "The connection was lost.", retryable: true });
  }
  if (!answer.ok) throw new ApiError(answer.error);
  return answer;
}

/** Tell the server something that nobody waits for; without a connection nothing happens. */
export function tell<E extends Event>(event: E, data: Command<E>): void {
  if (socket?.connected) void request(event, data).catch(() => undefined);
}
