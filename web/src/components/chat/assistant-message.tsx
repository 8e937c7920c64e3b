"use client";

import { RotateCcw, Sparkles } from "lucide-react";
import { memo } from "react";
import { Markdown } from "@/components/markdown";
import { Button } from "@/components/ui/button";
import { CopyButton } from "@/components/ui/copy-button";
import { sayFailure } from "@/components/ui/toast";
import { askAgain } from "@/lib/assistant";
import type { AiMessage } from "@/lib/types";
import { useAi } from "@/stores/ai";

const NOTES: Partial<Record<AiMessage["status"], string>> = {
  STOPPED: "You stopped this answer.",
  FAILED: "There was no answer.",
  INTERRUPTED: "The answer broke off.",
};
const REASONS: Record<string, string> = {
  rate_limited: "The model has too many questions right now.",
  deadline_exceeded: "The model took too long.",
  unavailable: "The model could not be reached, or broke off.",
  payload_too_large: "The conversation is longer than the model takes.",
};

/** A question, or an answer as it grows. */
export const AssistantMessage = memo(function AssistantMessage({ message, isLast }: { message: AiMessage; isLast: boolean }) {
  if (message.role === "USER") {
    return (
      <div className="flex justify-end px-5 py-2">
        <p className="max-w-[85%] rounded-2xl bg-mine px-4 py-2.5 text-[0.94rem] break-words whitespace-pre-wrap">{message.content}</p>
      </div>
    );
  }
  return <Answer message={message} isLast={isLast} />;
});

function Answer({ message, isLast }: { message: AiMessage; isLast: boolean }) {
  const live = useAi((ai) => ai.streams[message.id]?.text);
  const isStreaming = message.status === "STREAMING";
  const text = isStreaming ? (live ?? message.content) : message.content;
  const note = NOTES[message.status];
  return (
    <article aria-label="Answer" data-answer={message.id} data-status={message.status} aria-busy={isStreaming} className="flex gap-3 px-5 py-3">
      <span className="grid size-8 shrink-0 place-items-center rounded-full bg-accent-soft text-accent">
        <Sparkles size={16} aria-hidden />
      </span>
      <div className="min-w-0 flex-1 text-[0.94rem] leading-relaxed">
        <Markdown text={text} />
        {isStreaming && !text ? <p role="status" className="animate-pulse text-soft">Thinking…</p> : null}
        {note ? (
          <p className="mt-1 text-sm text-soft">
            {note} {message.errorCode ? (REASONS[message.errorCode] ?? "") : ""}
          </p>
        ) : null}
        {isStreaming ? null : <AnswerActions message={message} isLast={isLast} />}
      </div>
    </article>
  );
}

function AnswerActions({ message, isLast }: { message: AiMessage; isLast: boolean }) {
  const again = (): void => {
    askAgain(message.aiSessionId, message.id).catch((trouble: unknown) => sayFailure("It was not asked again", trouble));
  };
  return (
    <div className="mt-1 -ml-2 flex gap-0.5">
      {message.content ? <CopyButton label="Copy the answer" text={() => message.content} /> : null}
      {isLast ? (
        <Button look="ghost" size="tiny" aria-label="Answer again" onClick={again}>
          <RotateCcw size={15} aria-hidden />
        </Button>
      ) : null}
    </div>
  );
}
