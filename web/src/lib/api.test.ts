import axios, { type InternalAxiosRequestConfig } from "axios";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { accessToken, call, dropTokens, openApi, refreshToken, takeTokens } from "./api";
import { storedLogin, storeLogin } from "./tokens";
import type { Tokens } from "./types";

const usual = axios.defaults.adapter;
let server: (request: InternalAxiosRequestConfig) => Promise<unknown>;

function tokens(name: string): Tokens {
  const expiresAt = new Date(Date.now() + 600_000).toISOString();
  const ids = { user: { id: name }, deviceId: `device of ${name}`, deviceToken: "" } as Tokens;
  return { ...ids, accessToken: `access of ${name}`, refreshToken: `refresh of ${name}`, expiresAt };
}

beforeEach(() => {
  axios.defaults.adapter = async (config) => {
    const data = await server(config);
    return { data, status: 200, statusText: "", headers: {}, config };
  };
  openApi("", () => undefined);
  localStorage.clear();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  axios.defaults.adapter = usual;
  dropTokens();
});

describe("the access token", () => {
  it("is that of the login that the browser keeps, also when another tab has logged in", async () => {
    takeTokens(tokens("ada"));
    expect(await accessToken()).toBe("access of ada");
    storeLogin(tokens("bob")); // by another tab
    server = async () => tokens("bob");
    expect(await accessToken()).toBe("access of bob");
  });

  it("brings no login back when its answer comes after the logout", async () => {
    takeTokens(tokens("ada"));
    server = async () => {
      dropTokens();
      return tokens("ada");
    };
    await expect(refreshToken()).rejects.toMatchObject({ code: "unauthorized" });
    expect(storedLogin()).toBeNull();
  });
});

describe("a fresh access token", () => {
  /** A lock that another tab holds for good. */
  const heldElsewhere = {
    request: (_: string, { signal }: { signal: AbortSignal }) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
  };

  it("is not waited for without end when another tab holds the lock, and is asked for anew then", async () => {
    vi.useFakeTimers();
    vi.stubGlobal("navigator", { locks: heldElsewhere });
    takeTokens(tokens("ada"));
    let failure: unknown;
    void refreshToken().catch((trouble: unknown) => {
      failure = trouble;
    });
    await vi.advanceTimersByTimeAsync(19_999);
    expect(failure).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(failure).toMatchObject({ code: "timeout" });
    expect(storedLogin()).not.toBeNull();
    vi.stubGlobal("navigator", {});
    server = async () => tokens("ada");
    expect(await refreshToken()).toBe("access of ada");
  });
});

describe("a call of a login that was ended elsewhere", () => {
  function refuse(config: InternalAxiosRequestConfig): never {
    const data = { error: { code: "unauthorized", message: "no" } };
    const response = { data, status: 401, statusText: "", headers: {}, config };
    throw new axios.AxiosError("refused", "ERR_BAD_REQUEST", config, null, response);
  }

  it("tells that it has ended, after one try for a fresh token", async () => {
    const ended = vi.fn();
    openApi("", ended);
    takeTokens(tokens("ada"));
    const asked: (string | undefined)[] = [];
    server = async (config) => {
      asked.push(config.url);
      refuse(config);
    };
    await expect(call({ url: "/users/me" })).rejects.toMatchObject({ code: "unauthorized" });
    expect(asked).toEqual(["/users/me", "/auth/refresh"]);
    expect(ended).toHaveBeenCalledOnce();
    expect(storedLogin()).toBeNull();
  });

  it("is answered when only its token was refused", async () => {
    takeTokens(tokens("ada"));
    const fresh = { ...tokens("ada"), accessToken: "fresh" };
    server = async (config) => {
      if (config.url === "/auth/refresh") return fresh;
      return config.headers.get("authorization") === "Bearer fresh" ? "done" : refuse(config);
    };
    expect(await call({ url: "/users/me" })).toBe("done");
  });
});

describe("a call that asks for bytes", () => {
  it("is told why it was refused", async () => {
    takeTokens(tokens("ada"));
    const refusal = JSON.stringify({ error: { code: "rate_limited", message: "once an hour", retryAfterMs: 5000 } });
    server = async (config) => {
      const data = new Blob([refusal], { type: "application/json" });
      const response = { data, status: 429, statusText: "", headers: {}, config };
      throw new axios.AxiosError("refused", "ERR_BAD_REQUEST", config, null, response);
    };
    await expect(call({ url: "/users/me/export", responseType: "blob" })).rejects.toMatchObject({
      code: "rate_limited",
      retryAfterMs: 5000,
    });
  });
});
