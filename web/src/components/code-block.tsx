"use client";

import { Check, Copy } from "lucide-react";
import { useRef, useState, type ReactNode } from "react";
import { Button } from "@/components/ui/button";
import { say } from "@/components/ui/toast";
import { copied } from "@/lib/clipboard";

/** Code with a button that copies it. */
export function CodeBlock({ children }: { children: ReactNode }) {
  const code = useRef<HTMLPreElement>(null);
  const [isCopied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    if (!(await copied(code.current?.textContent ?? ""))) return say("It was not copied", "This page may not write to the clipboard.");
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div className="group/code relative my-2">
      {/* A wide line is scrolled, with the keyboard as well. */}
      <pre ref={code} tabIndex={0} className="overflow-x-auto rounded-lg border bg-panel p-3 font-mono text-sm">
        {children}
      </pre>
      <Button
        look="outline"
        size="tiny"
        aria-label={isCopied ? "Copied" : "Copy the code"}
        className="absolute top-2 right-2 opacity-0 group-hover/code:opacity-100 focus-visible:opacity-100"
        onClick={() => void copy()}
      >
        {isCopied ? <Check size={15} aria-hidden /> : <Copy size={15} aria-hidden />}
      </Button>
    </div>
  );
}
