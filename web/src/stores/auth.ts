import { create } from "zustand";
import { call, callAnonymously, dropAccess, dropTokens, openApi, takeTokens } from "@/lib/api";
import { loadConfig, type Config } from "@/lib/config";
import { toApiError } from "@/lib/errors";
import { proofOf } from "@/lib/proof";
import { deviceTokenOf, keepDeviceToken, onLoginElsewhere, storedLogin } from "@/lib/tokens";
import type { Account, Me, Tokens } from "@/lib/types";
import { forgetUnsent } from "./unsent";

/** `starting`: it is not known yet; `unreachable`: the server did not answer. */
export type AuthState = "starting" | "out" | "in" | "unreachable";

interface AuthStore {
  state: AuthState;
  config: Config | null;
  account: Account | null;
  /** Why somebody who was logged in is not any more. */
  notice: string | null;
}

export const useAuth = create<AuthStore>()(() => ({
  state: "starting",
  config: null,
  account: null,
  notice: null,
}));

const set = useAuth.setState;

function loggedOut(notice: string | null): void {
  set({ state: "out", account: null, notice });
}

/** Find out where the server is and whether this browser is logged in. Safe to call again. */
export async function startAuth(): Promise<void> {
  try {
    const config = useAuth.getState().config ?? (await loadConfig());
    openApi(config.apiBase, () => loggedOut("Your login has ended. Log in again."));
    set({ config });
    if (!storedLogin()) {
      loggedOut(null);
      return;
    }
    const { user } = await call<Me>({ url: "/auth/me" });
    set({ state: "in", account: user, notice: null });
  } catch (trouble) {
    if (toApiError(trouble).code === "unauthorized") loggedOut(useAuth.getState().notice);
    else set({ state: "unreachable" });
  }
}

/** Follow what other tabs do. Returns what stops it. */
export function followTabs(): () => void {
  return onLoginElsewhere((login) => {
    const { state, account } = useAuth.getState();
    if (!login) dropAccess();
    if (!login && state === "in") loggedOut(null);
    if (login && (state === "out" || (account && account.id !== login.userId))) void startAuth();
  });
}

function enter(tokens: Tokens): void {
  takeTokens(tokens);
  keepDeviceToken(tokens.user.email, tokens.deviceToken);
  set({ state: "in", account: tokens.user, notice: null });
}

export async function login(email: string, password: string): Promise<void> {
  const deviceToken = deviceTokenOf(email);
  const data = deviceToken ? { email, password, deviceToken } : { email, password };
  enter(await callAnonymously<Tokens>({ method: "POST", url: "/auth/login", data }));
}

/** Go on with a login that asks for the second factor. */
export async function proveLogin(challenge: string, proof: string): Promise<void> {
  const data = { challenge, ...proofOf(proof) };
  enter(await callAnonymously<Tokens>({ method: "POST", url: "/auth/login/totp", data }));
}

export async function register(email: string, password: string, name: string): Promise<void> {
  const data = name ? { email, password, name } : { email, password };
  enter(await callAnonymously<Tokens>({ method: "POST", url: "/auth/register", data }));
}

/** Take the one-time code with which the sign-in elsewhere came back. */
export async function exchange(code: string): Promise<void> {
  // The cookie of the browser that began goes with it.
  const request = { method: "POST", url: "/auth/exchange", data: { code }, withCredentials: true };
  enter(await callAnonymously<Tokens>(request));
}

/** End this login and forget what is not sent; what the server cannot be told now it learns when the login expires. */
export async function logout(everywhere = false): Promise<void> {
  const { account } = useAuth.getState(); // the connection may learn of the end before the answer comes
  try {
    await call({ method: "POST", url: everywhere ? "/auth/logout-all" : "/auth/logout" });
  } catch (trouble) {
    if (everywhere) throw trouble;
  }
  endLogin(null);
  if (account) forgetUnsent(account.id);
}

/** Forget this login, and all that its user has not sent. */
export function endLogin(notice: string | null): void {
  const { account } = useAuth.getState();
  dropTokens();
  loggedOut(notice);
  if (account) forgetUnsent(account.id);
}

export function setAccount(account: Account): void {
  set({ account });
}
