import { Toast } from "@base-ui/react/toast";
import { X } from "lucide-react";
import { explain } from "@/lib/errors";
import { buttonClass } from "./button";

const manager = Toast.createToastManager();

/** Say something in passing. */
export function say(title: string, description?: string): void {
  manager.add({ title, ...(description ? { description } : {}) });
}

/** Say that something did not work, and why. */
export function sayFailure(title: string, trouble: unknown): void {
  manager.add({ title, description: explain(trouble), priority: "high" });
}

function List() {
  const { toasts } = Toast.useToastManager();
  return toasts.map((toast) => (
    <Toast.Root key={toast.id} toast={toast} className="flex items-start gap-3 rounded-xl border bg-raised p-3 shadow-lg">
      <div className="min-w-0 flex-1">
        <Toast.Title className="text-sm font-medium" />
        <Toast.Description className="text-sm text-soft" />
      </div>
      <Toast.Close aria-label="Dismiss" className={buttonClass({ look: "ghost", size: "tiny" })}>
        <X size={16} aria-hidden />
      </Toast.Close>
    </Toast.Root>
  ));
}

/** Where toasts appear; once a page. */
export function Toasts() {
  return (
    <Toast.Provider toastManager={manager} timeout={5000}>
      <Toast.Portal>
        <Toast.Viewport className="fixed right-4 bottom-4 z-50 flex w-[min(22rem,calc(100vw-2rem))] flex-col gap-2">
          <List />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  );
}
