"use client";

import { useEffect, useRef, useState } from "react";
import { Button } from "@/components/ui/button";
import { ChoiceList } from "@/components/ui/choice-list";
import { Dialog } from "@/components/ui/dialog";
import { call } from "@/lib/api";
import { explain } from "@/lib/errors";
import { goTo } from "@/lib/navigate";
import { titleOf } from "@/lib/people";
import { openRoom, showMessage } from "@/lib/rooms";
import { listTime } from "@/lib/time";
import type { SearchPage, SearchResult, Snippet } from "@/lib/types";
import { sayFailure } from "@/components/ui/toast";
import { useChat } from "@/stores/chat";
import { openDialog } from "@/stores/ui";
import { revealed } from "./reveal";

const AFTER_MS = 250; // of no typing, then the server is asked

interface Found {
  results: readonly SearchResult[];
  nextCursor: string | null;
  failure: string | null;
}

const NOTHING: Found = { results: [], nextCursor: null, failure: null };

/** What is found for some words, and what fetches more of it; nothing comes of words of before. */
function useSearch(q: string): { found: Found; more: () => Promise<void> } {
  const [found, setFound] = useState<Found>(NOTHING);
  const asking = useRef(new AbortController()); // for these words
  const busy = useRef(false);

  const ask = async (shown: Found, { signal }: AbortController): Promise<void> => {
    try {
      const params = shown.nextCursor ? { q, cursor: shown.nextCursor } : { q };
      const page = await call<SearchPage>({ url: "/chat/search", params, signal });
      if (!signal.aborted) setFound({ ...page, results: [...shown.results, ...page.results], failure: null });
    } catch (trouble) {
      if (!signal.aborted) setFound({ ...shown, failure: explain(trouble) });
    }
  };
  useEffect(() => {
    const controller = new AbortController();
    asking.current = controller;
    busy.current = false;
    if (!q) setFound(NOTHING);
    const timer = q ? setTimeout(() => void ask(NOTHING, controller), AFTER_MS) : undefined;
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [q]);
  const more = async (): Promise<void> => {
    if (busy.current) return;
    busy.current = true;
    const controller = asking.current;
    await ask(found, controller);
    if (controller === asking.current) busy.current = false;
  };
  return { found, more };
}

/** Find messages in all conversations, the newest first. */
export function SearchDialog() {
  const sessions = useChat((chat) => chat.sessions);
  const [query, setQuery] = useState("");
  const q = query.trim();
  const { found, more } = useSearch(q);
  const choose = async ({ message }: SearchResult): Promise<void> => {
    openDialog(null);
    goTo(message.sessionId);
    openRoom(message.sessionId);
    try {
      await showMessage(message.sessionId, message.id);
      revealed(message.id);
    } catch (trouble) {
      sayFailure("That message did not come", trouble);
    }
  };

  return (
    <Dialog isOpen onClose={() => openDialog(null)} title="Search messages" shape="top">
      <ChoiceList
        label="Messages"
        placeholder="Words, or a part of one"
        query={query}
        onQuery={setQuery}
        choices={found.results}
        keyOf={({ message }) => message.id}
        onChoose={(result) => void choose(result)}
        empty={found.failure ?? (q ? "Nothing was found." : "Finds messages that hold all the words.")}
        render={({ message, snippet }) => {
          const session = sessions[message.sessionId];
          return (
            <span className="block text-sm">
              <span className="flex gap-2 text-xs text-soft">
                <span className="truncate">
                  {message.sender.name}
                  {session && session.kind !== "DIRECT" ? ` in ${titleOf(session)}` : ""}
                </span>
                <span className="ml-auto shrink-0">{listTime(message.createdAt)}</span>
              </span>
              <Marked snippet={snippet} />
            </span>
          );
        }}
      />
      {found.failure && found.results.length > 0 ? (
        <p role="alert" className="px-2 pt-2 text-sm text-danger">
          {found.failure}
        </p>
      ) : null}
      {found.nextCursor ? (
        <Button look="soft" size="sm" className="mt-2 w-full" onClick={() => void more()}>
          More
        </Button>
      ) : null}
    </Dialog>
  );
}

function Marked({ snippet }: { snippet: Snippet }) {
  const parts: React.ReactNode[] = [];
  let at = 0;
  for (const [start = 0, end = 0] of snippet.hits) {
    parts.push(snippet.text.slice(at, start), <mark key={start} className="rounded bg-accent-soft text-ink">{snippet.text.slice(start, end)}</mark>);
    at = end;
  }
  parts.push(snippet.text.slice(at));
  return <span className="line-clamp-2">{parts}</span>;
}
