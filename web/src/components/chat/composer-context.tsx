"use client";

import { X } from "lucide-react";
import { Button } from "@/components/ui/button";
import type { Message } from "@/lib/types";
import { useChat } from "@/stores/chat";

interface ComposerContextProps {
  sessionId: string;
  replyTo: Message | null;
  editing: Message | null;
  onStop: () => void;
}

/** What is being answered or edited. */
export function ComposerContext({ sessionId, replyTo, editing, onStop }: ComposerContextProps) {
  const chosen = editing ?? replyTo;
  const shown = useChat((chat) => chat.rooms[sessionId]?.timeline.rows.find((row) => row.message.id === chosen?.id)?.message);
  const message = shown ?? chosen;
  if (!message) return null;
  return (
    <div className="flex items-center gap-2 border-b px-4 py-1.5 text-sm text-soft">
      <p className="min-w-0 flex-1 truncate">
        <span className="font-medium text-accent">{editing ? "Editing" : `Reply to ${message.sender.name}`}</span> {message.content}
      </p>
      <Button look="ghost" size="tiny" aria-label={editing ? "Stop editing" : "Stop replying"} onClick={onStop}>
        <X size={16} aria-hidden />
      </Button>
    </div>
  );
}
