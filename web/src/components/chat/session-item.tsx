"use client";

import { BellOff, Hash, Star, Users } from "lucide-react";
import { Avatar } from "@/components/ui/avatar";
import { Badge } from "@/components/ui/badge";
import { cn } from "@/lib/cn";
import { useDirectPartner } from "@/lib/hooks";
import { goTo } from "@/lib/navigate";
import { titleOf } from "@/lib/people";
import { statusOf } from "@/lib/status";
import { listTime } from "@/lib/time";
import type { Message, SessionSummary } from "@/lib/types";
import { useAuth } from "@/stores/auth";
import { usePresence } from "@/stores/presence";

function excerpt(message: Message | null, ownId: string | undefined): string {
  if (!message) return "No messages yet";
  if (message.deletedAt) return "Message deleted";
  const who = message.sender.id === ownId ? "You" : message.sender.name;
  return `${who}: ${message.content || "sent a file"}`;
}

/** One line of the list: what it is, who spoke last, what is unread. */
export function SessionItem({ session, isOpen }: { session: SessionSummary; isOpen: boolean }) {
  const ownId = useAuth((auth) => auth.account?.id);
  const partner = useDirectPartner(session);
  const presence = usePresence((all) => (partner ? all.people[partner.id] : undefined));
  const { lastMessage, unreadCount, mentionCount, muted, markedUnread } = session;
  const hasNews = unreadCount > 0 || markedUnread;
  const open = (event: React.MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    goTo(session.id);
  };
  return (
    <li>
      <a
        href={`/chat/?s=${session.id}`}
        onClick={open}
        aria-current={isOpen ? "page" : undefined}
        className={cn("flex items-center gap-3 rounded-xl px-2.5 py-2 hover:bg-line/50", isOpen && "bg-accent-soft hover:bg-accent-soft")}
      >
        {session.kind === "DIRECT" ? (
          <Avatar
            name={titleOf(session, partner)}
            url={partner?.avatarUrl ?? null}
            color={partner?.avatarColor ?? "#64748b"}
            status={partner ? statusOf(presence) : undefined}
          />
        ) : (
          <span className="grid size-10 shrink-0 place-items-center rounded-full bg-accent-soft text-accent">
            {session.kind === "PUBLIC" ? <Hash size={18} aria-hidden /> : <Users size={18} aria-hidden />}
          </span>
        )}
        <span className="min-w-0 flex-1">
          <span className="flex items-center gap-1.5">
            <span className={cn("truncate text-sm", hasNews ? "font-semibold" : "font-medium")}>{titleOf(session, partner)}</span>
            {session.favourite ? <Star size={12} aria-label="favourite" className="shrink-0 fill-current text-away" /> : null}
            {muted ? <BellOff size={12} aria-label="muted" className="shrink-0 text-soft" /> : null}
            <span className="ml-auto shrink-0 text-xs text-soft">{lastMessage ? listTime(lastMessage.createdAt) : ""}</span>
          </span>
          <span className="flex items-center gap-2">
            <span className={cn("min-w-0 flex-1 truncate text-sm", hasNews ? "text-ink" : "text-soft")}>{excerpt(lastMessage, ownId)}</span>
            {mentionCount > 0 ? <span aria-label="mentions you" className="text-sm font-bold text-accent">@</span> : null}
            <Badge count={unreadCount} isQuiet={muted} label="unread" />
            {markedUnread && unreadCount === 0 ? <span aria-label="marked unread" className="size-2.5 rounded-full bg-accent" /> : null}
          </span>
        </span>
      </a>
    </li>
  );
}
