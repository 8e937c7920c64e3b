"use client";

import { X } from "lucide-react";
import { Button } from "@/components/ui/button";
import { useChat } from "@/stores/chat";

interface ComposerContextProps {
  sessionId: string;
  replyTo: string | null;
  editing: string | null;
  onStop: () => void;
}

/** What is being answered or edited. */
export function ComposerContext({ sessionId, replyTo, editing, onStop }: ComposerContextProps) {
  const id = editing ?? replyTo;
  const message = useChat((chat) => chat.rooms[sessionId]?.timeline.rows.find((row) => row.message.id === id)?.message);
  if (!id || !message) return null;
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
