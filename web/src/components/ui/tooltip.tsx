import { Tooltip as Base } from "@base-ui/react/tooltip";
import type { ReactElement } from "react";

/** A name for a button that shows only an icon; the button itself has it as `aria-label`. */
export function Tooltip({ label, children, side = "top" }: { label: string; children: ReactElement; side?: "top" | "bottom" | "right" }) {
  return (
    <Base.Root>
      <Base.Trigger render={children} aria-label={label} />
      <Base.Portal>
        <Base.Positioner side={side} sideOffset={6} className="z-50">
          <Base.Popup className="rounded-md bg-ink px-2 py-1 text-xs font-medium text-paper shadow">{label}</Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}

export const TooltipProvider = Base.Provider;
