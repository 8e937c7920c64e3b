import type { ReactNode } from "react";
import { Logo } from "@/components/logo";

/** A page of one thing: its title, and what there is to do. */
export function Card({ title, children }: { title: string; children: ReactNode }) {
  return (
    <main className="grid min-h-dvh place-items-center bg-panel p-4">
      <div className="w-full max-w-sm space-y-5 rounded-2xl border bg-raised p-7 shadow-sm">
        <Logo />
        <h1 className="text-2xl font-semibold tracking-tight">{title}</h1>
        {children}
      </div>
    </main>
  );
}
