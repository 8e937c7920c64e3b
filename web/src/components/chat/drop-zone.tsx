"use client";

import { useRef, useState, type DragEvent, type ReactNode } from "react";
import { addFiles } from "@/lib/uploads";
import { useAuth } from "@/stores/auth";

/** A conversation onto which files can be dropped anywhere. */
export function DropZone({ sessionId, children }: { sessionId: string; children: ReactNode }) {
  const hasFiles = useAuth((auth) => auth.config?.features.files ?? false);
  const [isOver, setOver] = useState(false);
  const depth = useRef(0); // of nested elements that the pointer has entered
  const isFiles = (event: DragEvent): boolean => hasFiles && event.dataTransfer.types.includes("Files");
  const enter = (event: DragEvent): void => {
    if (!isFiles(event)) return;
    depth.current += 1;
    setOver(true);
  };
  const leave = (event: DragEvent): void => {
    if (!isFiles(event)) return;
    depth.current -= 1;
    if (depth.current === 0) setOver(false);
  };
  const drop = (event: DragEvent): void => {
    if (!isFiles(event)) return;
    event.preventDefault();
    depth.current = 0;
    setOver(false);
    addFiles(sessionId, Array.from(event.dataTransfer.files));
  };
  return (
    <div
      className="relative flex min-w-0 flex-1 flex-col"
      onDragEnter={enter}
      onDragOver={(event) => (isFiles(event) ? event.preventDefault() : undefined)}
      onDragLeave={leave}
      onDrop={drop}
    >
      {children}
      {isOver ? (
        <div className="pointer-events-none absolute inset-2 z-30 grid place-items-center rounded-2xl border-2 border-dashed border-accent bg-accent-soft/85">
          <p className="text-lg font-semibold text-accent">Drop to send</p>
        </div>
      ) : null}
    </div>
  );
}
