"use client";

import { useSearchParams } from "next/navigation";
import { useEffect } from "react";
import { cn } from "@/lib/cn";
import { useShortcuts } from "@/lib/keys";
import { startLive } from "@/lib/live";
import { openRoom } from "@/lib/rooms";
import { useAuth } from "@/stores/auth";
import { useChat } from "@/stores/chat";
import { useUi } from "@/stores/ui";
import { Announcer } from "./announcer";
import { AssistantChat } from "./assistant-chat";
import { ConnectionBanner } from "./connection-banner";
import { Conversation } from "./conversation";
import { Dialogs } from "./dialogs";
import { EmptyChat } from "./empty-chat";
import { SessionList } from "./session-list";

/** The chat: conversations at the left, the open one at the right; on a phone one of them. */
export function ChatShell() {
  const userId = useAuth((auth) => auth.account?.id);
  const place = useSearchParams();
  const sessionId = place.get("s");
  const aiId = place.get("a");
  const isKnown = useChat((chat) => sessionId !== null && sessionId in chat.sessions);
  const isListed = useChat((chat) => chat.isListed);
  const isListOpen = useUi((ui) => ui.isListOpen) || !(sessionId || aiId);
  useShortcuts();

  useEffect(() => (userId ? startLive() : undefined), [userId]);
  useEffect(() => {
    if (sessionId && isKnown) openRoom(sessionId);
    else useChat.setState({ openId: null });
    useUi.setState({ isListOpen: !(sessionId || aiId) });
  }, [sessionId, isKnown, aiId]);

  return (
    <div className="flex h-dvh flex-col overflow-hidden">
      <ConnectionBanner />
      <div className="flex min-h-0 flex-1">
        <div className={cn("w-full border-r bg-panel md:block md:w-80 md:shrink-0", isListOpen ? "block" : "hidden")}>
          <SessionList isAssistant={aiId !== null} />
        </div>
        <main className={cn("min-w-0 flex-1 md:flex", isListOpen ? "hidden" : "flex")}>
          {aiId ? <AssistantChat key={aiId} id={aiId} /> : null}
          {sessionId && isKnown ? <Conversation key={sessionId} sessionId={sessionId} /> : null}
          {aiId || (sessionId && isKnown) ? null : <EmptyChat isMissing={sessionId !== null && isListed} />}
        </main>
      </div>
      <Announcer />
      <Dialogs />
    </div>
  );
}
