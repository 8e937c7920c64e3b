"use client";

import { useMessageScroller } from "@shadcn/react/message-scroller";
import { explain } from "@/lib/errors";
import { showMessage } from "@/lib/rooms";
import type { Reply } from "@/lib/types";
import { say } from "@/components/ui/toast";
import { roomOf } from "@/stores/chat";

/** What a message answers; a click goes there. */
export function ReplyQuote({ reply, sessionId }: { reply: Reply; sessionId: string }) {
  const { scrollToMessage } = useMessageScroller();
  const go = async (): Promise<void> => {
    await showMessage(sessionId, reply.id);
    const row = roomOf(sessionId).timeline.rows.find((each) => each.message.id === reply.id);
    if (row) requestAnimationFrame(() => scrollToMessage(row.key, { align: "center" }));
  };
  return (
    <button
      type="button"
      onClick={() => void go().catch((trouble: unknown) => say("That message did not come", explain(trouble)))}
      className="my-0.5 block max-w-full truncate border-l-3 border-accent/50 pl-2 text-left text-sm text-soft hover:text-ink"
    >
      <span className="font-medium">{reply.sender.name}</span> {reply.excerpt ?? "Message deleted"}
    </button>
  );
}
