"use client";

import { Popover } from "@base-ui/react/popover";
import { useState, type ReactElement } from "react";

// A handful that says most; the keyboards of all systems have the rest.
const EMOJI = "👍 ❤️ 😂 🎉 😮 😢 🙏 🔥 👀 ✅ 🚀 💯 👏 🤔 😅 😍 😎 🙌 💡 ☕".split(" ");

/** A small choice of emoji, served with the page: none is fetched from elsewhere. */
export function EmojiPicker({ trigger, onPick }: { trigger: ReactElement; onPick: (emoji: string) => void }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <Popover.Root open={isOpen} onOpenChange={setOpen}>
      <Popover.Trigger render={trigger} />
      <Popover.Portal>
        <Popover.Positioner sideOffset={6} className="z-50">
          <Popover.Popup aria-label="Choose an emoji" className="grid grid-cols-5 gap-1 rounded-xl border bg-raised p-2 shadow-lg">
            {EMOJI.map((emoji) => (
              <button
                key={emoji}
                type="button"
                aria-label={emoji}
                className="grid size-9 place-items-center rounded-lg text-xl hover:bg-panel"
                onClick={() => {
                  setOpen(false);
                  onPick(emoji);
                }}
              >
                {emoji}
              </button>
            ))}
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  );
}
