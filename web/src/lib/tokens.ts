import type { Tokens } from "./types";

const KEY = "chatd.login";

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

/** Call when another tab logs in or out. Returns what stops it. */
export function onLoginElsewhere(listener: (login: Login | null) => void): () => void {
  const hear = (event: StorageEvent): void => {
    if (event.key === KEY || event.key === null) listener(storedLogin());
  };
  window.addEventListener("storage", hear);
  return () => window.removeEventListener("storage", hear);
}
