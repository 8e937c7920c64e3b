"use client";

import { cn } from "@/lib/cn";
import { namesOf } from "@/lib/people";
import { react } from "@/lib/changes";
import type { Message, SessionSummary } from "@/lib/types";
import { useAuth } from "@/stores/auth";
import { useChat } from "@/stores/chat";

/** The reactions under a message; a click gives or takes back one's own. */
export function Reactions({ session, message }: { session: SessionSummary; message: Message }) {
  const ownId = useAuth((auth) => auth.account?.id ?? "");
  const members = useChat((chat) => chat.rooms[session.id]?.members);
  return (
    <ul aria-label="Reactions" className="mt-1 flex flex-wrap gap-1">
      {message.reactions?.map(({ emoji, count, userIds }) => {
        const isOwn = userIds.includes(ownId);
        const names = namesOf(userIds.map((id) => (id === ownId ? "You" : (members?.[id]?.user.name ?? "Somebody"))));
        return (
          <li key={emoji}>
            <button
              type="button"
              aria-pressed={isOwn}
              aria-label={`${emoji} ${count}: ${names}`}
              title={names}
              onClick={() => void react(message, emoji, !isOwn)}
              className={cn(
                "flex h-7 items-center gap-1.5 rounded-full border bg-raised px-2 text-sm hover:border-accent",
                isOwn && "border-accent bg-accent-soft",
              )}
            >
              <span aria-hidden>{emoji}</span>
              <span aria-hidden className="text-xs font-medium tabular-nums">
                {count}
              </span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}
