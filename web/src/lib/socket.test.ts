import { afterEach, describe, expect, it, vi } from "vitest";
import { closeSocket, openSocket, waitBefore } from "./socket";

const { fake } = vi.hoisted(() => ({
  fake: {
    io: { opts: {} as { transports?: string[] } },
    listeners: {} as Record<string, (told: unknown) => void>,
    on(name: string, listener: (told: unknown) => void) {
      fake.listeners[name] = listener;
    },
    connect: vi.fn(),
    disconnect: vi.fn(),
    removeAllListeners: vi.fn(),
  },
}));
vi.mock("socket.io-client", () => ({
  io: (_: string, opts: { transports: string[] }) => {
    fake.io.opts = opts;
    return fake;
  },
}));

describe("the wait before the next try", () => {
  it("doubles up to its bound, and clients do not come all at once", () => {
    expect([0, 1, 2, 3].map((attempt) => waitBefore(attempt, null, 1))).toEqual([500, 1000, 2000, 4000]);
    expect(waitBefore(50, null, 1)).toBe(20_000);
    expect(waitBefore(3, null, 0)).toBe(2000);
  });

  it("is never shorter than the server says", () => {
    expect(waitBefore(0, 7000, 0)).toBe(7000);
    expect(waitBefore(50, 7000, 1)).toBe(20_000);
  });
});

describe("the first transport of the next try", () => {
  afterEach(closeSocket);

  it.each([
    ["polling, when a connect took too long", "timeout", ["polling", "websocket"]],
    ["a WebSocket still, when one failed", "websocket error", ["websocket", "polling"]],
  ])("is %s", (_, message, transports) => {
    openSocket({ bind: () => undefined, ended: () => undefined });
    fake.listeners["connect_error"]?.(new Error(message));
    expect(fake.io.opts.transports).toEqual(transports);
  });
});
