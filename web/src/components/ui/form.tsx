import type { ComponentProps } from "react";
import { cn } from "@/lib/cn";
import { useHydrated } from "@/lib/hydrated";

/**
 * A form that is not there before the page's scripts run.
 *
 * In the page's HTML nobody hears it: on a slow line a press of Enter would put the password into the
 * address, where logs and histories keep it.
 */
export function Form({ className, ...props }: ComponentProps<"form">) {
  if (!useHydrated()) return <div aria-busy className="h-48" />;
  return <form noValidate className={cn("space-y-4", className)} {...props} />;
}
