import { Dialog as Base } from "@base-ui/react/dialog";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { cn } from "@/lib/cn";
import { buttonClass } from "./button";

interface DialogProps {
  isOpen: boolean;
  /** Without it only what is in the window closes it. */
  onClose?: () => void;
  title: string;
  description?: string;
  children: ReactNode;
  /** `sheet` comes from the side, over the whole height. */
  shape?: "dialog" | "sheet" | "top";
  className?: string;
}

const SHAPES = {
  dialog: "top-1/2 left-1/2 max-h-[85dvh] w-[min(32rem,calc(100vw-2rem))] -translate-x-1/2 -translate-y-1/2 rounded-2xl",
  top: "top-[12dvh] left-1/2 max-h-[75dvh] w-[min(36rem,calc(100vw-2rem))] -translate-x-1/2 rounded-2xl",
  sheet: "inset-y-0 right-0 h-dvh w-[min(24rem,100vw)]",
};

/** A window over the page: the focus stays in it, Escape closes it. */
export function Dialog({ isOpen, onClose, title, description, children, shape = "dialog", className }: DialogProps) {
  return (
    <Base.Root open={isOpen} onOpenChange={(open) => (open ? undefined : onClose?.())}>
      <Base.Portal>
        <Base.Backdrop className="fixed inset-0 z-40 bg-black/40 transition-opacity data-ending-style:opacity-0 data-starting-style:opacity-0" />
        <Base.Popup
          className={cn(
            "fixed z-50 flex flex-col overflow-hidden border bg-raised shadow-xl transition duration-150 data-ending-style:opacity-0 data-starting-style:opacity-0",
            SHAPES[shape],
            className,
          )}
        >
          <div className="flex items-start gap-3 px-5 pt-4 pb-3">
            <div className="min-w-0 flex-1">
              <Base.Title className="text-lg font-semibold">{title}</Base.Title>
              {description ? <Base.Description className="text-sm text-soft">{description}</Base.Description> : null}
            </div>
            {onClose ? (
              <Base.Close aria-label="Close" className={buttonClass({ look: "ghost", size: "tiny" })}>
                <X size={18} aria-hidden />
              </Base.Close>
            ) : null}
          </div>
          <div className="min-h-0 flex-1 overflow-y-auto px-5 pb-5">{children}</div>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
