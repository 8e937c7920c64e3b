"use client";

import { useEffect, useState } from "react";
import { useAuth } from "@/stores/auth";
import { useChat } from "@/stores/chat";

const KEPT = 5; // lines: a screen reader reads what is added, the rest is only there

/** Reads aloud what others say in the open conversation, as it comes. */
export function Announcer() {
  const [lines, setLines] = useState<{ key: string; text: string }[]>([]);
  useEffect(() => {
    let seen: { sessionId: string | null; seq: number } = { sessionId: null, seq: 0 };
    return useChat.subscribe(({ openId, rooms }) => {
      const timeline = openId ? rooms[openId]?.timeline : undefined;
      const last = timeline?.rows.findLast((row) => row.status === "sent")?.message;
      if (!openId || !last) return;
      if (seen.sessionId !== openId) {
        seen = { sessionId: openId, seq: last.seq };
        setLines([]);
        return;
      }
      if (last.seq <= seen.seq) return;
      seen = { sessionId: openId, seq: last.seq };
      if (last.sender.id === useAuth.getState().account?.id || last.deletedAt) return;
      const line = { key: last.id, text: `${last.sender.name}: ${last.content}` };
      setLines((lines) => [...lines.slice(1 - KEPT), line]);
    });
  }, []);
  return (
    <div role="log" aria-label="New messages" className="sr-only">
      {lines.map((line) => (
        <p key={line.key}>{line.text}</p>
      ))}
    </div>
  );
}
