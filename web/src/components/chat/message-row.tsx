"use client";

import { AlertCircle, Clock, Pin } from "lucide-react";
import { memo, useEffect, useState } from "react";
import { Markdown } from "@/components/markdown";
import { Avatar } from "@/components/ui/avatar";
import { Button } from "@/components/ui/button";
import { cn } from "@/lib/cn";
import { discardMessage, retryMessage } from "@/lib/sending";
import { fullTime, timeOfDay } from "@/lib/time";
import type { SessionSummary } from "@/lib/types";
import { useAuth } from "@/stores/auth";
import type { Row } from "@/stores/timeline";
import { Attachments } from "./attachments";
import { MessageActions } from "./message-actions";
import { Reactions } from "./reactions";
import { ReplyQuote } from "./reply-quote";

const SPINNER_AFTER_MS = 300; // an answer that comes sooner shows no sign of waiting

interface MessageRowProps {
  session: SessionSummary;
  row: Row;
  /** The first of a group stands under its sender's name. */
  isFirst: boolean;
}

/** One message. */
export const MessageRow = memo(function MessageRow({ session, row, isFirst }: MessageRowProps) {
  const { message, status, failure } = row;
  const ownId = useAuth((auth) => auth.account?.id);
  const isOwn = message.sender.id === ownId;
  const isPinging = message.mentions === "ALL" || (ownId !== undefined && message.mentions.includes(ownId));
  return (
    <article
      aria-label={`${message.sender.name}, ${timeOfDay(message.createdAt)}`}
      data-message={message.id}
      data-status={status}
      className={cn(
        "group/row relative flex gap-3 px-4 py-0.5 hover:bg-panel/80 md:px-5",
        isFirst && "mt-2.5 pt-1",
        isPinging && !isOwn && "bg-accent-soft/60 hover:bg-accent-soft",
        status === "pending" && "opacity-60",
      )}
    >
      <div className="w-10 shrink-0">
        {isFirst ? (
          <Avatar name={message.sender.name} url={message.sender.avatarUrl} color={message.sender.avatarColor} />
        ) : (
          <time
            dateTime={message.createdAt}
            title={fullTime(message.createdAt)}
            className="hidden pt-1 text-right text-[0.65rem] text-soft group-hover/row:block"
          >
            {timeOfDay(message.createdAt)}
          </time>
        )}
      </div>
      <div className="min-w-0 flex-1">
        {isFirst ? (
          <p className="flex items-baseline gap-2">
            <span className="truncate text-sm font-semibold">{message.sender.name}</span>
            <time dateTime={message.createdAt} title={fullTime(message.createdAt)} className="shrink-0 text-xs text-soft">
              {timeOfDay(message.createdAt)}
            </time>
            {message.pinnedAt ? <Pin size={12} aria-label="pinned" className="text-soft" /> : null}
          </p>
        ) : null}
        {message.replyTo ? <ReplyQuote reply={message.replyTo} sessionId={session.id} /> : null}
        {message.deletedAt ? (
          <p className="text-sm text-soft italic">Message deleted</p>
        ) : (
          <div className="text-[0.94rem] leading-relaxed">
            <Markdown text={message.content} />
            {message.editedAt ? (
              <span title={fullTime(message.editedAt)} className="text-xs text-soft">
                (edited)
              </span>
            ) : null}
          </div>
        )}
        <Attachments attachments={message.attachments} />
        {message.reactions?.length ? <Reactions session={session} message={message} /> : null}
        {status === "failed" ? <Failed row={row} reason={failure} /> : null}
      </div>
      {status === "pending" ? <Spinner /> : null}
      {status === "sent" && !message.deletedAt ? <MessageActions session={session} message={message} /> : null}
    </article>
  );
});

function Spinner() {
  const [isShown, setShown] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setShown(true), SPINNER_AFTER_MS);
    return () => clearTimeout(timer);
  }, []);
  return isShown ? <Clock size={14} aria-label="sending" className="mt-1.5 shrink-0 text-soft" /> : null;
}

function Failed({ row, reason }: { row: Row; reason: string | null }) {
  const { sessionId } = row.message;
  return (
    <div role="alert" className="mt-1 flex flex-wrap items-center gap-x-2 gap-y-1 text-sm text-danger">
      <AlertCircle size={15} aria-hidden />
      <span>Not sent. {reason}</span>
      <Button look="outline" size="sm" className="h-7" onClick={() => retryMessage(sessionId, row.key)}>
        Retry
      </Button>
      <Button look="danger" size="sm" className="h-7" onClick={() => discardMessage(sessionId, row.key)}>
        Delete
      </Button>
    </div>
  );
}
