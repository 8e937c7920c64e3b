"use client";

import { useRef, type ReactNode } from "react";
import { CopyButton } from "@/components/ui/copy-button";

/** Code with a button that copies it. */
export function CodeBlock({ children }: { children: ReactNode }) {
  const code = useRef<HTMLPreElement>(null);
  return (
    <div className="group/code relative my-2">
      {/* A wide line is scrolled, with the keyboard as well. */}
      <pre ref={code} tabIndex={0} className="overflow-x-auto rounded-lg border bg-panel p-3 font-mono text-sm">
        {children}
      </pre>
      <CopyButton
        label="Copy the code"
        text={() => code.current?.textContent ?? ""}
        look="outline"
        className="absolute top-2 right-2 opacity-0 group-hover/code:opacity-100 focus-visible:opacity-100"
      />
    </div>
  );
}
