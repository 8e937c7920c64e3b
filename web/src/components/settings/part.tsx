import type { ReactNode } from "react";

/** A part of the page under its heading. */
export function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title} className="space-y-4 rounded-2xl border bg-raised p-5">
      <h2 className="font-semibold">{title}</h2>
      {children}
    </section>
  );
}
