import axios, { type InternalAxiosRequestConfig } from "axios";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
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
