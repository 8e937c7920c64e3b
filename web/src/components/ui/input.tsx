import type { ComponentProps } from "react";
import { cn } from "@/lib/cn";

export const inputClass =
  "w-full rounded-lg border bg-raised px-3 text-base text-ink placeholder:text-soft disabled:opacity-60 aria-invalid:border-danger sm:text-sm";

export function Input({ className, ...props }: ComponentProps<"input">) {
  return <input className={cn(inputClass, "h-10", className)} {...props} />;
}
