import type { Presence } from "./types";

/** What others see of somebody. */
export type StatusName = "ONLINE" | "AWAY" | "BUSY" | "OFFLINE";

export const STATUS_LABEL: Record<StatusName, string> = {
  ONLINE: "online",
  AWAY: "away",
  BUSY: "busy",
  OFFLINE: "offline",
};

/** Nobody has told of somebody: they are not there, or not known. */
export function statusOf(presence: Presence | undefined): StatusName {
  const status = presence?.status;
  return status === "ONLINE" || status === "AWAY" || status === "BUSY" ? status : "OFFLINE";
}
