"use client";

import { Check, Copy } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { copied } from "@/lib/clipboard";
import { Button, type ButtonProps } from "./button";
import { say } from "./toast";

const SHOWN_MS = 1500; // that it was copied

/** Say that a text is not in the clipboard. */
export function sayNotCopied(): void {
  say("It was not copied", "This page may not write to the clipboard.");
}

interface CopyButtonProps extends Omit<ButtonProps, "onClick"> {
  /** What it is called, as "Copy the code". */
  label: string;
  /** Asked for when it is pressed. */
  text: () => string;
  /** In the place of what says that it could not be done. */
  onRefused?: () => void;
}

/** Copies a text, and shows for a moment that it did. */
export function CopyButton({ label, text, onRefused = sayNotCopied, look = "ghost", ...props }: CopyButtonProps) {
  const [isCopied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async (): Promise<void> => {
    if (!(await copied(text()))) {
      onRefused();
      return;
    }
    setCopied(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setCopied(false), SHOWN_MS);
  };
  return (
    <Button look={look} size="tiny" aria-label={isCopied ? "Copied" : label} onClick={() => void copy()} {...props}>
      {isCopied ? <Check size={15} aria-hidden /> : <Copy size={15} aria-hidden />}
    </Button>
  );
}
