/** The chat of whoever is logged in: one connection, from login to logout. */
import { resetAi } from "@/stores/ai";
import { endLogin, useAuth } from "@/stores/auth";
import { resetChat } from "@/stores/chat";
import { resetPresence, typingExpired } from "@/stores/presence";
import { openDialog } from "@/stores/ui";
import { bindAssistant, loadAiSessions } from "./assistant";
import { bindEvents } from "./events";
import { loadSessions, resetRooms } from "./rooms";
import { closeSocket, openSocket, tell, type ChatSocket } from "./socket";
import { resetUploads } from "./uploads";

const ACTIVE_EVERY_MS = 60_000; // somebody at the device is told to the server this often
const TYPING_LOOK_MS = 2000;

let lastUser: string | undefined; // whose files wait in the composers: they outlive a look at the settings

/** Begin. Returns what ends it. */
export function startLive(): () => void {
  const userId = useAuth.getState().account?.id;
  if (userId !== lastUser) resetUploads();
  lastUser = userId;
  void loadSessions();
  if (useAuth.getState().config?.features.ai) void loadAiSessions();
  const bind = (socket: ChatSocket): void => {
    bindEvents(socket);
    bindAssistant(socket);
  };
  openSocket({ bind, ended: endLogin });
  let toldAt = 0;
  const active = (): void => {
    if (document.hidden || Date.now() - toldAt < ACTIVE_EVERY_MS) return;
    toldAt = Date.now();
    tell("status:active", {});
  };
  const visibility = (): void => {
    if (!document.hidden) active();
  };
  document.addEventListener("visibilitychange", visibility);
  document.addEventListener("pointerdown", active);
  document.addEventListener("keydown", active);
  const look = setInterval(typingExpired, TYPING_LOOK_MS);
  return () => {
    clearInterval(look);
    document.removeEventListener("visibilitychange", visibility);
    document.removeEventListener("pointerdown", active);
    document.removeEventListener("keydown", active);
    closeSocket();
    resetRooms();
    resetChat();
    resetAi();
    resetPresence();
    openDialog(null);
  };
}
