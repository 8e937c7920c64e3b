import { create } from "zustand";

export type Theme = "system" | "light" | "dark";

/** `waiting`: not connected, the next try is at `retryAt`. */
export interface Link {
  state: "off" | "connecting" | "online" | "waiting" | "stopped";
  retryAt: number | null;
  /** Why it ended for good; null otherwise. */
  reason: string | null;
  /** It was online before: a lost connection is told, the first one just comes. */
  hasBeenOnline: boolean;
}

interface UiStore {
  theme: Theme;
  /** What is seen: the chosen theme, or the one that the system has now. */
  isDark: boolean;
  link: Link;
  /** On a phone the list of conversations lies over the chat. */
  isListOpen: boolean;
  isPeopleOpen: boolean;
  dialog: "switcher" | "help" | "new" | "search" | "details" | "pins" | null;
}

const THEME = "chatd.theme";

export const useUi = create<UiStore>()(() => ({
  theme: "system",
  isDark: false,
  link: { state: "off", retryAt: null, reason: null, hasBeenOnline: false },
  isListOpen: true,
  isPeopleOpen: false,
  dialog: null,
}));

const { setState: set, getState: get } = useUi;

export function setLink(link: Partial<Link>): void {
  set({ link: { ...get().link, ...link } });
}

export function openDialog(dialog: UiStore["dialog"]): void {
  set({ dialog });
}

function isDarkNow(theme: Theme): boolean {
  if (theme !== "system") return theme === "dark";
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

function paint(theme: Theme): void {
  const isDark = isDarkNow(theme);
  document.documentElement.classList.toggle("dark", isDark);
  set({ theme, isDark });
}

export function setTheme(theme: Theme): void {
  localStorage.setItem(THEME, theme);
  paint(theme);
}

/** Take the kept theme and follow the system's. Returns what stops it. */
export function startTheme(): () => void {
  const kept = localStorage.getItem(THEME);
  const theme: Theme = kept === "light" || kept === "dark" ? kept : "system";
  paint(theme);
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = (): void => paint(get().theme);
  media.addEventListener("change", follow);
  return () => media.removeEventListener("change", follow);
}
