"use client";

import { Dialog } from "@/components/ui/dialog";
import { SHORTCUTS } from "@/lib/keys";
import { openDialog } from "@/stores/ui";

export function HelpDialog() {
  return (
    <Dialog isOpen onClose={() => openDialog(null)} title="Keyboard shortcuts">
      <dl className="grid grid-cols-[auto_1fr] gap-x-6 gap-y-2 text-sm">
        {SHORTCUTS.map(([keys, does]) => (
          <div key={keys} className="contents">
            <dt>
              <kbd className="rounded-md border bg-panel px-1.5 py-0.5 font-mono text-xs">{keys}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
