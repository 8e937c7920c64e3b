"use client";

import { MessageScroller, useMessageScroller, useMessageScrollerScrollable } from "@shadcn/react/message-scroller";
import { ArrowDown } from "lucide-react";
import { useEffect, useMemo } from "react";
import { Button } from "@/components/ui/button";
import { explain } from "@/lib/errors";
import { cn } from "@/lib/cn";
import { itemsOf, type Line } from "@/lib/items";
import { useEdges } from "@/lib/older";
import { loadAfter, loadBefore, markRead, showNewest } from "@/lib/rooms";
import type { SessionSummary } from "@/lib/types";
import { say } from "@/components/ui/toast";
import { NO_ROOM, useChat } from "@/stores/chat";
import { useAuth } from "@/stores/auth";
import { MessageRow } from "./message-row";
import { NotCome } from "./not-come";

const NEAR_TOP = 600; // pixels from the top at which the page before is fetched

/** The messages of a conversation, the newest at the bottom; older ones come without a jump. */
export function MessageList({ session }: { session: SessionSummary }) {
  return (
    <MessageScroller.Provider autoScroll defaultScrollPosition="end" scrollEdgeThreshold={24}>
      <MessageScroller.Root className="relative flex min-h-0 flex-1 flex-col">
        <Viewport session={session} />
        <JumpToLatest session={session} />
      </MessageScroller.Root>
    </MessageScroller.Provider>
  );
}

function Viewport({ session }: { session: SessionSummary }) {
  const sessionId = session.id;
  const room = useChat((chat) => chat.rooms[sessionId] ?? NO_ROOM);
  const ownId = useAuth((auth) => auth.account?.id ?? "");
  const { timeline, unreadFrom } = room;
  const { head, items } = useMemo(() => itemsOf(timeline.rows, unreadFrom, ownId), [timeline.rows, unreadFrom, ownId]);
  const hasStored = timeline.rows[0]?.status === "sent"; // what waits to be sent has no page before it
  const { view, failure, look, again } = useEdges(timeline.rows, room.isLoading, (place) => {
    if (place.scrollTop < NEAR_TOP && timeline.hasBefore && hasStored) return () => loadBefore(sessionId);
    const toEnd = place.scrollHeight - place.scrollTop - place.clientHeight;
    return toEnd < NEAR_TOP && timeline.hasAfter ? () => loadAfter(sessionId) : null;
  });

  return (
    <MessageScroller.Viewport
      ref={view}
      aria-label="Messages"
      preserveScrollOnPrepend
      tabIndex={0}
      className="min-h-0 flex-1 overflow-y-auto overscroll-contain py-3 [overflow-anchor:none]"
      onScroll={look}
    >
      <Beginning isLoading={room.isLoading} isKnown={timeline.epoch !== null && !timeline.hasBefore} isEmpty={items.length === 0} />
      <NotCome failure={failure} onAgain={again} />
      <Lines lines={head} />
      <MessageScroller.Content role="list">
        {items.map(({ row, isFirst, after }) => (
          <MessageScroller.Item key={row.key} messageId={row.key} role="listitem">
            <MessageRow session={session} row={row} isFirst={isFirst} />
            <Lines lines={after} />
          </MessageScroller.Item>
        ))}
      </MessageScroller.Content>
      <ReadWatch session={session} />
    </MessageScroller.Viewport>
  );
}

/** What stands at the top. `isKnown`: the first message has been loaded, or there is none. */
function Beginning({ isLoading, isKnown, isEmpty }: { isLoading: boolean; isKnown: boolean; isEmpty: boolean }) {
  if (isLoading || !isKnown) return <p role="status" className="h-9 pt-2 text-center text-xs text-soft">{isLoading ? "Loading…" : ""}</p>;
  return <p className="px-5 pt-8 pb-4 text-center text-sm text-soft">{isEmpty ? "Nobody has said anything yet. Be the first." : "This is where it began."}</p>;
}

function Lines({ lines }: { lines: readonly Line[] }) {
  return lines.map(({ kind, text }) => (
    <div key={kind} className={cn("my-3 flex items-center gap-3 px-5", kind === "unread" ? "text-danger" : "text-soft")}>
      <span className="h-px flex-1 bg-current opacity-30" />
      <span className="text-xs font-medium">{text}</span>
      <span className="h-px flex-1 bg-current opacity-30" />
    </div>
  ));
}

/** Messages count as read when the bottom is seen in a window that has the focus. */
function ReadWatch({ session }: { session: SessionSummary }) {
  const { end } = useMessageScrollerScrollable();
  const seq = useChat((chat) => chat.rooms[session.id]?.timeline.rows.findLast((row) => row.status === "sent")?.message.seq ?? 0);
  const hasAfter = useChat((chat) => chat.rooms[session.id]?.timeline.hasAfter ?? false);
  const isAtEnd = !end && !hasAfter;
  useEffect(() => {
    const look = (): void => {
      if (isAtEnd && seq > 0 && document.hasFocus()) markRead(session.id, seq);
    };
    look();
    window.addEventListener("focus", look);
    return () => window.removeEventListener("focus", look);
  }, [isAtEnd, seq, session.id]);
  return null;
}

function JumpToLatest({ session }: { session: SessionSummary }) {
  const { end } = useMessageScrollerScrollable();
  const { scrollToEnd } = useMessageScroller();
  const hasAfter = useChat((chat) => chat.rooms[session.id]?.timeline.hasAfter ?? false);
  if (!end && !hasAfter) return null;
  const jump = async (): Promise<void> => {
    await showNewest(session.id);
    scrollToEnd({ behavior: "auto" });
  };
  return (
    <Button
      look="outline"
      size="sm"
      className="absolute right-5 bottom-2 rounded-full shadow-md"
      onClick={() => void jump().catch((trouble: unknown) => say("The newest messages did not come", explain(trouble)))}
    >
      <ArrowDown size={15} aria-hidden />
      {session.unreadCount > 0 ? `${session.unreadCount} new` : "Latest"}
    </Button>
  );
}
