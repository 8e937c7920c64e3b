/** What the audit logs tell, in words. */
import { listTime } from "./time";
import type { SessionAuditEntry } from "./types";

const ROLES: Record<string, string> = {
  OWNER: "the owner",
  ADMIN: "an admin",
  MEMBER: "a member",
  READ_ONLY: "somebody who reads only",
};

function settingWords(details: Record<string, unknown>): string {
  const words: string[] = [];
  if (typeof details["name"] === "string") words.push(`called it “${details["name"]}”`);
  if ("readOnly" in details) words.push(details["readOnly"] ? "let only admins write" : "let everybody write");
  if ("archived" in details) words.push(details["archived"] ? "archived it" : "took it out of the archive");
  if ("slowModeSeconds" in details) {
    words.push(details["slowModeSeconds"] ? `set slow mode to ${String(details["slowModeSeconds"])} s` : "ended slow mode");
  }
  return words.join(", ") || "changed its settings";
}

/** What somebody did in a conversation, behind their name: "banned Bob". */
export function actWords({ action, targetId, details }: SessionAuditEntry, nameOf: (id: string) => string): string {
  const target = targetId ? nameOf(targetId) : "somebody";
  const until = typeof details["until"] === "string" ? ` until ${listTime(details["until"])}` : "";
  const reason = typeof details["reason"] === "string" ? `: ${details["reason"]}` : "";
  const words: Record<string, string> = {
    member_role: `made ${target} ${ROLES[String(details["role"])] ?? "something else"}`,
    member_muted: until ? `muted ${target}${until}` : `let ${target} write again`,
    member_removed: `removed ${target}`,
    member_banned: `banned ${target}${until}${reason}`,
    member_unbanned: `lifted the ban of ${target}`,
    session_updated: settingWords(details),
    session_deleted: "deleted it",
    invite_made: "made an invite link",
    invite_revoked: "ended an invite link",
    message_deleted: `deleted a message of ${target}`,
  };
  return words[action] ?? action.replaceAll("_", " ");
}

const ACCOUNT: Record<string, string> = {
  register: "The account was opened",
  login: "Logged in",
  login_failed: "A login failed",
  sign_in: "Signed in elsewhere",
  identity_linked: "A sign-in elsewhere was linked",
  logout: "Logged out",
  logout_all: "Logged out everywhere",
  login_displaced: "An old login made room for a new one",
  device_removed: "A device was logged out",
  refresh_token_reused: "A stolen login was ended",
  password_refused: "A wrong password was given",
  password_set: "The operator set the password",
  password_changed: "The password was changed",
  password_reset_asked: "A new password was asked for",
  password_reset: "The password was set anew",
  email_verified: "The address was confirmed",
  email_change_asked: "A new address was asked for",
  email_changed: "The address was changed",
  second_factor_enabled: "The second factor was turned on",
  second_factor_disabled: "The second factor was turned off",
  code_refused: "A wrong code was given",
  recovery_code_used: "A recovery code was used",
  recovery_codes_renewed: "New recovery codes were made",
  api_token_created: "An API token was made",
  api_token_revoked: "An API token was revoked",
  bot_created: "A bot was made",
  bot_removed: "A bot was removed",
};

/** What was done to an account. */
export function accountWords(action: string): string {
  return ACCOUNT[action] ?? action.replaceAll("_", " ");
}
