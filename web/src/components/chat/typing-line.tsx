"use client";

import { namesOf } from "@/lib/people";
import { useAuth } from "@/stores/auth";
import { useChat } from "@/stores/chat";
import { usePresence } from "@/stores/presence";

const NOBODY = {};

/** "Ada and Bob are typing"; its place is kept when nobody does, so nothing moves. */
export function TypingLine({ sessionId }: { sessionId: string }) {
  const ownId = useAuth((auth) => auth.account?.id);
  const typers = usePresence((presence) => presence.typing[sessionId] ?? NOBODY);
  const members = useChat((chat) => chat.rooms[sessionId]?.members ?? NOBODY) as Record<string, { user: { name: string } }>;
  const names = Object.keys(typers)
    .filter((id) => id !== ownId)
    .map((id) => members[id]?.user.name ?? "Somebody");
  const text = names.length === 0 ? "" : `${namesOf(names)} ${names.length === 1 ? "is" : "are"} typing…`;
  return (
    <p data-testid="typing" className="h-5 shrink-0 truncate px-5 text-xs text-soft">
      {text}
    </p>
  );
}
