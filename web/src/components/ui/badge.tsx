import { cn } from "@/lib/cn";

/** A count; above 99 it is told as 99+. */
export function Badge({ count, isQuiet = false, label }: { count: number; isQuiet?: boolean; label: string }) {
  if (count <= 0) return null;
  return (
    <span
      className={cn(
        "inline-flex h-5 min-w-5 items-center justify-center rounded-full px-1.5 text-xs font-semibold tabular-nums",
        isQuiet ? "bg-line text-ink" : "bg-accent text-accent-ink",
      )}
    >
      <span aria-hidden>{count > 99 ? "99+" : count}</span>
      <span className="sr-only">{`${count} ${label}`}</span>
    </span>
  );
}
