import { useEffect, type KeyboardEvent as KeyPress } from "react";
import { openDialog, useUi } from "@/stores/ui";

/** What the keyboard does, for the help and for the listener. */
export const SHORTCUTS: readonly [keys: string, does: string][] = [
  ["Enter", "Send the message"],
  ["Shift + Enter", "A new line"],
  ["↑ in an empty box", "Edit your last message"],
  ["Esc", "Close, or stop editing and replying"],
  ["Ctrl/⌘ + K", "Switch conversation"],
  ["Ctrl/⌘ + Shift + F", "Search messages"],
  ["Alt + ↑ / ↓", "Previous or next conversation"],
  ["?", "This help"],
];

/** Whether a key is an IME's, which uses Enter to choose. Safari ends the composition first: there the key's code tells. */
export function isComposing(event: KeyPress): boolean {
  return event.nativeEvent.isComposing || event.keyCode === 229;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Listen for the shortcuts that work everywhere on the page. */
export function useShortcuts(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const isCommand = event.ctrlKey || event.metaKey;
      const key = event.key.toLowerCase();
      if (isCommand && !event.shiftKey && key === "k") {
        event.preventDefault();
        openDialog(useUi.getState().dialog === "switcher" ? null : "switcher");
      } else if (isCommand && event.shiftKey && key === "f") {
        event.preventDefault();
        openDialog("search");
      } else if (event.key === "?" && !isCommand && !isTyping(event.target)) {
        event.preventDefault();
        openDialog("help");
      }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}
