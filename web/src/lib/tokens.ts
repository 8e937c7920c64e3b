import type { Tokens } from "./types";

const KEY = "chatd.login";
const DEVICES = "chatd.devices";
const MOST_DEVICES = 5; // accounts whose proof is kept, the latest

/** What a browser keeps of a login. The access token lives in memory only. */
export interface Login {
  userId: string;
  deviceId: string;
  refreshToken: string;
}

/** The login that this browser keeps, shared by its tabs. */
export function storedLogin(): Login | null {
  try {
    const login = JSON.parse(localStorage.getItem(KEY) ?? "null") as Login | null;
    return login && typeof login.refreshToken === "string" ? login : null;
  } catch {
    return null; // somebody wrote something else there: it is no login
  }
}

/** Keep a login, or forget it with null. */
export function storeLogin(tokens: Pick<Tokens, "user" | "deviceId" | "refreshToken"> | null): void {
  if (tokens === null) localStorage.removeItem(KEY);
  else {
    const { user, deviceId, refreshToken } = tokens;
    localStorage.setItem(KEY, JSON.stringify({ userId: user.id, deviceId, refreshToken } satisfies Login));
  }
}

function devices(): Record<string, string> {
  try {
    return (JSON.parse(localStorage.getItem(DEVICES) ?? "null") as Record<string, string> | null) ?? {};
  } catch {
    return {}; // not ours: nothing to show
  }
}

/** What proves at a login that this account was logged in here before: others' wrong passwords then keep nobody out. */
export function deviceTokenOf(email: string): string | undefined {
  return devices()[email.trim().toLowerCase()];
}

/** Keep that proof, over a logout as well. */
export function keepDeviceToken(email: string, deviceToken: string): void {
  const { [email.toLowerCase()]: _, ...others } = devices();
  const kept = Object.entries(others).slice(1 - MOST_DEVICES);
  localStorage.setItem(DEVICES, JSON.stringify(Object.fromEntries([...kept, [email.toLowerCase(), deviceToken]])));
}

/** Call when another tab logs in or out. Returns what stops it. */
export function onLoginElsewhere(listener: (login: Login | null) => void): () => void {
  const hear = (event: StorageEvent): void => {
    if (event.key === KEY || event.key === null) listener(storedLogin());
  };
  window.addEventListener("storage", hear);
  return () => window.removeEventListener("storage", hear);
}
