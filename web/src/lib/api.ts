import axios, { type AxiosInstance, type AxiosRequestConfig } from "axios";
import { ApiError, toApiError } from "./errors";
import { storedLogin, storeLogin } from "./tokens";
import type { Tokens } from "./types";

const CALL_TIMEOUT_MS = 15_000; // a call that takes longer is told to have failed
const LOCK_TIMEOUT_MS = 20_000; // for the turn of this tab: another's call and what it waits for
const EARLY_MS = 30_000; // an access token is renewed this long before it ends

let http: AxiosInstance = axios.create({ timeout: CALL_TIMEOUT_MS });
let base = "";
let access: { token: string; expiresAt: number; deviceId: string } | null = null;
let refreshing: Promise<string> | null = null;
let whenLoggedOut: () => void = () => undefined;

/** Point all calls at a daemon; `loggedOut` is called when a login has ended. */
export function openApi(apiBase: string, loggedOut: () => void): void {
  base = apiBase;
  whenLoggedOut = loggedOut;
  http = axios.create({ baseURL: apiBase, timeout: CALL_TIMEOUT_MS });
}

/** The daemon's origin; empty for the page's own. */
export function apiBase(): string {
  return base;
}

/** Take a login into use and keep it. */
export function takeTokens(tokens: Tokens): void {
  storeLogin(tokens);
  const { accessToken: token, deviceId } = tokens;
  access = { token, expiresAt: Date.parse(tokens.expiresAt), deviceId };
}

/** Forget what this tab holds of a login that has ended in another tab. */
export function dropAccess(): void {
  access = null;
}

/** Forget the login in this tab and its storage. */
export function dropTokens(): void {
  dropAccess();
  storeLogin(null);
}

function noLogin(): ApiError {
  return new ApiError({ code: "unauthorized", message: "You are logged out." });
}

async function rotate(): Promise<string> {
  const login = storedLogin();
  if (!login) throw noLogin();
  try {
    const { data } = await http.post<Tokens>("/auth/refresh", { refreshToken: login.refreshToken });
    // Logged out meanwhile, or in as somebody else: an old answer brings no login back.
    if (storedLogin()?.deviceId !== login.deviceId) throw noLogin();
    takeTokens(data);
    return data.accessToken;
  } catch (trouble) {
    const error = toApiError(trouble);
    if (error.code === "unauthorized" && storedLogin()?.refreshToken === login.refreshToken) {
      dropTokens();
      whenLoggedOut();
    }
    throw error;
  }
}

/** Do something while no other tab of this browser does it. */
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (!navigator.locks) return work();
  const patience = new AbortController();
  const over = new ApiError({ code: "timeout", message: "Another tab of this browser holds up the login.", retryable: true });
  const timer = setTimeout(() => patience.abort(over), LOCK_TIMEOUT_MS);
  const begin = (): Promise<T> => {
    clearTimeout(timer); // the work has a deadline of its own
    return work();
  };
  try {
    return await navigator.locks.request("chatd.refresh", { signal: patience.signal }, begin);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A fresh access token: one call for all who ask at once, in this tab and, by a lock, in the others.
 *
 * Throws ApiError: `unauthorized` when the login has ended, `timeout` when another tab does not let
 * go, else what kept it from the server.
 */
export function refreshToken(): Promise<string> {
  refreshing ??= inTurn(rotate).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** An access token that is good for a while. */
export function accessToken(): Promise<string> {
  // Another tab may have logged in as somebody else: then this tab's token is of the one before.
  const isOurs = access !== null && access.deviceId === storedLogin()?.deviceId;
  if (access && isOurs && access.expiresAt - EARLY_MS > Date.now()) return Promise.resolve(access.token);
  return refreshToken();
}

/** Who asks for bytes gets a refusal as bytes too. */
async function readable(trouble: unknown): Promise<unknown> {
  const response = axios.isAxiosError(trouble) ? trouble.response : undefined;
  if (response?.data instanceof Blob) {
    const text = await response.data.text();
    response.data = response.data.type.startsWith("application/json") ? JSON.parse(text) : null;
  }
  return trouble;
}

async function send<T>(request: AxiosRequestConfig, token: string | null): Promise<T> {
  const headers = token ? { ...request.headers, authorization: `Bearer ${token}` } : request.headers;
  try {
    return (await http.request<T>({ ...request, headers })).data;
  } catch (trouble) {
    throw await readable(trouble);
  }
}

/** Whether a fresh token may help. An ended login is `unauthorized`: then asking for one tells that it has ended. */
function isStale({ code }: ApiError): boolean {
  return code === "token_expired" || (code === "unauthorized" && storedLogin() !== null);
}

/** Call the server as whoever is logged in. Throws ApiError. */
export async function call<T>(request: AxiosRequestConfig): Promise<T> {
  try {
    return await send<T>(request, await accessToken());
  } catch (trouble) {
    const error = toApiError(trouble);
    if (!isStale(error)) throw error;
  }
  try {
    return await send<T>(request, await refreshToken());
  } catch (trouble) {
    throw toApiError(trouble);
  }
}

/** Call the server as nobody: to log in, to register. Throws ApiError. */
export async function callAnonymously<T>(request: AxiosRequestConfig): Promise<T> {
  try {
    return await send<T>(request, null);
  } catch (trouble) {
    throw toApiError(trouble);
  }
}
