"use client";

import { useEffect } from "react";
import { Button } from "@/components/ui/button";
import { joinRoom } from "@/lib/rooms";
import { useChat } from "@/stores/chat";
import { Composer } from "./composer";
import { ConversationHeader } from "./conversation-header";
import { DropZone } from "./drop-zone";
import { MessageList } from "./message-list";
import { TypingLine } from "./typing-line";

/** One open conversation. */
export function Conversation({ sessionId }: { sessionId: string }) {
  const session = useChat((chat) => chat.sessions[sessionId]);
  const failure = useChat((chat) => chat.rooms[sessionId]?.failure ?? null);
  useEffect(() => {
    document.querySelector<HTMLTextAreaElement>("#composer")?.focus();
  }, []);
  if (!session) return null;
  return (
    <DropZone sessionId={sessionId}>
      <ConversationHeader session={session} />
      {failure ? (
        <div role="alert" className="flex items-center gap-3 bg-danger-soft px-4 py-2 text-sm text-danger">
          <span className="flex-1">{failure}</span>
          <Button look="outline" size="sm" onClick={() => void joinRoom(sessionId)}>
            Try again
          </Button>
        </div>
      ) : null}
      <MessageList session={session} />
      <TypingLine sessionId={sessionId} />
      <Composer session={session} />
    </DropZone>
  );
}
