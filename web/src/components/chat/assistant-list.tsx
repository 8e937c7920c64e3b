"use client";

import { Plus, Sparkles } from "lucide-react";
import { useMemo } from "react";
import { Button } from "@/components/ui/button";
import { sayFailure } from "@/components/ui/toast";
import { createAiSession } from "@/lib/assistant";
import { cn } from "@/lib/cn";
import { goToAssistant } from "@/lib/navigate";
import { listTime } from "@/lib/time";
import { aiInOrder, useAi } from "@/stores/ai";

/** The conversations with the assistant, the latest first. */
export function AssistantList() {
  const { sessions, isListed, listFailure, openId } = useAi();
  const ordered = useMemo(() => aiInOrder(sessions), [sessions]);
  const begin = async (): Promise<void> => {
    try {
      goToAssistant((await createAiSession()).id);
    } catch (trouble) {
      sayFailure("No conversation was begun", trouble);
    }
  };
  return (
    <div className="space-y-1">
      <Button look="soft" className="mb-1 w-full justify-start" onClick={() => void begin()}>
        <Plus size={16} aria-hidden /> Ask something new
      </Button>
      {listFailure ? (
        <p role="alert" className="p-3 text-sm text-danger">
          {listFailure}
        </p>
      ) : null}
      {isListed && ordered.length === 0 ? <p className="p-3 text-sm text-soft">You have not asked anything yet.</p> : null}
      <ul>
        {ordered.map((session) => (
          <li key={session.id}>
            <a
              href={`/chat/?a=${session.id}`}
              aria-current={session.id === openId ? "page" : undefined}
              onClick={(event) => {
                if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                event.preventDefault();
                goToAssistant(session.id);
              }}
              className={cn(
                "flex items-center gap-3 rounded-xl px-2.5 py-2.5 text-sm hover:bg-line/50",
                session.id === openId && "bg-accent-soft hover:bg-accent-soft",
              )}
            >
              <Sparkles size={16} aria-hidden className="shrink-0 text-accent" />
              <span className="min-w-0 flex-1 truncate">{session.title ?? "New conversation"}</span>
              {session.runningId ? <span className="text-xs text-accent">writing</span> : <span className="text-xs text-soft">{listTime(session.activeAt)}</span>}
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
