"use client";

import { MessageScroller } from "@shadcn/react/message-scroller";
import { ArrowLeft, Pencil, SendHorizontal, Sparkles, Square, Trash2 } from "lucide-react";
import { useEffect, useRef, useState, type KeyboardEvent } from "react";
import { Button } from "@/components/ui/button";
import { Confirm } from "@/components/ui/confirm";
import { sayFailure } from "@/components/ui/toast";
import { ask, deleteAiSession, loadAiBefore, openAiSession, renameAiSession, stopAnswer } from "@/lib/assistant";
import { toApiError } from "@/lib/errors";
import { newId } from "@/lib/ids";
import { isComposing } from "@/lib/keys";
import { goToAssistant } from "@/lib/navigate";
import { useEdges } from "@/lib/older";
import { NO_AI_ROOM, useAi } from "@/stores/ai";
import { AssistantMessage } from "./assistant-message";
import { NotCome } from "./not-come";

const NEAR_TOP = 400; // pixels from the top at which the page before is fetched

/** One conversation with the assistant. */
export function AssistantChat({ id }: { id: string }) {
  const session = useAi((ai) => ai.sessions[id]);
  const room = useAi((ai) => ai.rooms[id] ?? NO_AI_ROOM);
  useEffect(() => {
    void openAiSession(id);
    return () => useAi.setState({ openId: null });
  }, [id]);
  const running = room.messages.find((each) => each.status === "STREAMING");
  return (
    <div className="flex min-w-0 flex-1 flex-col">
      <Header id={id} title={session?.title ?? "New conversation"} />
      {room.failure ? (
        <div role="alert" className="flex items-center gap-3 bg-danger-soft px-4 py-2 text-sm text-danger">
          <span className="flex-1">{room.failure}</span>
          <Button look="outline" size="sm" onClick={() => void openAiSession(id)}>
            Try again
          </Button>
        </div>
      ) : null}
      {/* No forced scroll: who reads above stays there while an answer grows. */}
      <MessageScroller.Provider autoScroll defaultScrollPosition="end" scrollEdgeThreshold={24}>
        <MessageScroller.Root className="relative flex min-h-0 flex-1 flex-col">
          <Answers key={id} id={id} />
        </MessageScroller.Root>
      </MessageScroller.Provider>
      <Question id={id} runningId={running?.id ?? null} />
    </div>
  );
}

function Answers({ id }: { id: string }) {
  const { messages, hasBefore, isLoading } = useAi((ai) => ai.rooms[id] ?? NO_AI_ROOM);
  const { view, failure, look, again } = useEdges(messages, isLoading, (place) =>
    place.scrollTop < NEAR_TOP && hasBefore ? () => loadAiBefore(id) : null,
  );
  return (
    <MessageScroller.Viewport
      ref={view}
      aria-label="Answers"
      preserveScrollOnPrepend
      tabIndex={0}
      className="min-h-0 flex-1 overflow-y-auto overscroll-contain py-4 [overflow-anchor:none]"
      onScroll={look}
    >
      <NotCome failure={failure} onAgain={again} />
      <MessageScroller.Content role="list" className="mx-auto max-w-3xl">
        {messages.length === 0 && !isLoading ? (
          <div role="listitem" className="space-y-3 px-5 pt-16 text-center">
            <Sparkles size={40} strokeWidth={1.4} aria-hidden className="mx-auto text-accent" />
            <p className="text-soft">What would you like to know?</p>
          </div>
        ) : null}
        {messages.map((message, place) => (
          <MessageScroller.Item key={message.id} messageId={message.id} role="listitem">
            <AssistantMessage message={message} isLast={place === messages.length - 1} />
          </MessageScroller.Item>
        ))}
      </MessageScroller.Content>
    </MessageScroller.Viewport>
  );
}

function Header({ id, title }: { id: string; title: string }) {
  const [isAsking, setAsking] = useState(false);
  const rename = (): void => {
    const next = window.prompt("Name of this conversation", title)?.trim();
    if (next) renameAiSession(id, next).catch((trouble: unknown) => sayFailure("The name was not kept", trouble));
  };
  const remove = (): void => {
    deleteAiSession(id).then(
      () => goToAssistant(null),
      (trouble: unknown) => sayFailure("The conversation was not deleted", trouble),
    );
  };
  return (
    <header className="flex h-14 shrink-0 items-center gap-2 border-b px-3 md:px-5">
      <Button look="ghost" size="icon" className="md:hidden" aria-label="Back to the conversations" onClick={() => goToAssistant(null)}>
        <ArrowLeft size={20} aria-hidden />
      </Button>
      <h1 className="min-w-0 flex-1 truncate font-semibold">{title}</h1>
      <Button look="ghost" size="icon" aria-label="Rename" onClick={rename}>
        <Pencil size={17} aria-hidden />
      </Button>
      <Button look="ghost" size="icon" aria-label="Delete the conversation" onClick={() => setAsking(true)}>
        <Trash2 size={17} aria-hidden />
      </Button>
      <Confirm
        isOpen={isAsking}
        onClose={() => setAsking(false)}
        onConfirm={remove}
        title="Delete this conversation?"
        text="Its questions and answers are gone. That cannot be undone."
        action="Delete"
      />
    </header>
  );
}

function Question({ id, runningId }: { id: string; runningId: string | null }) {
  const [text, setText] = useState("");
  const [isSending, setSending] = useState(false);
  const box = useRef<HTMLTextAreaElement>(null);
  const key = useRef(newId()); // of this question: sent again after a lost answer it is asked once
  useEffect(() => box.current?.focus(), [id]);
  useEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, 200)}px`;
  }, [text]);
  const submit = async (): Promise<void> => {
    const content = text.trim();
    if (!content || runningId || isSending) return;
    setSending(true);
    try {
      await ask(id, content, key.current);
      key.current = newId();
      setText("");
    } catch (trouble) {
      if (toApiError(trouble).code !== "network") key.current = newId();
      sayFailure("Your question was not sent", trouble);
    } finally {
      setSending(false);
    }
  };
  const stop = (): void => {
    if (runningId) stopAnswer(runningId).catch((trouble: unknown) => sayFailure("It was not stopped", trouble));
  };
  const press = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    void submit();
  };
  return (
    <div className="mx-auto w-full max-w-3xl shrink-0 px-3 pt-1 pb-[max(0.75rem,env(safe-area-inset-bottom))] md:px-5">
      <div className="flex items-end gap-1 rounded-2xl border bg-raised p-1.5 shadow-sm focus-within:border-accent">
        <textarea
          ref={box}
          rows={1}
          value={text}
          aria-label="Question"
          placeholder="Ask the assistant"
          onChange={(event) => setText(event.target.value)}
          onKeyDown={press}
          className="max-h-[200px] min-h-9 flex-1 resize-none bg-transparent px-2 py-1.5 text-base leading-6 outline-none placeholder:text-soft sm:text-[0.94rem]"
        />
        {runningId ? (
          <Button size="icon" look="soft" aria-label="Stop" onClick={stop}>
            <Square size={15} aria-hidden className="fill-current" />
          </Button>
        ) : (
          <Button size="icon" aria-label="Ask" disabled={!text.trim() || isSending} onClick={() => void submit()}>
            <SendHorizontal size={17} aria-hidden />
          </Button>
        )}
      </div>
    </div>
  );
}
