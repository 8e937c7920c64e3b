"use client";

import { useCallback, useMemo, useState } from "react";
import { Button } from "@/components/ui/button";
import { MoreButton } from "@/components/ui/more-button";
import { call } from "@/lib/api";
import { actWords } from "@/lib/audit-words";
import { useNames } from "@/lib/names";
import { usePages } from "@/lib/pages";
import { fullTime, listTime } from "@/lib/time";
import type { SessionAuditEntry, SessionAuditPage } from "@/lib/types";
import { NO_ROOM, useChat } from "@/stores/chat";

/** Who did what in a conversation, for those who look after it. */
export function SessionAudit({ sessionId }: { sessionId: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <section aria-label="Audit log" className="space-y-2">
      <div className="flex items-center justify-between">
        <h2 className="text-sm font-semibold">Audit log</h2>
        <Button look="soft" size="sm" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Hide" : "Show"}
        </Button>
      </div>
      {isOpen ? <Entries sessionId={sessionId} /> : null}
    </section>
  );
}

function Entries({ sessionId }: { sessionId: string }) {
  const members = useChat((chat) => (chat.rooms[sessionId] ?? NO_ROOM).members);
  const known = useMemo(() => Object.fromEntries(Object.values(members).map(({ user }) => [user.id, user.name])), [members]);
  const load = useCallback(
    async (after: string | null, signal: AbortSignal) => {
      const params = after ? { before: after } : {};
      const page = await call<SessionAuditPage>({ url: `/chat/sessions/${sessionId}/audit`, params, signal });
      return { items: page.entries, next: page.nextBefore === null ? null : String(page.nextBefore) };
    },
    [sessionId],
  );
  const pages = usePages<SessionAuditEntry>(load);
  const nameOf = useNames(
    pages.items.flatMap(({ userId, targetId }) => (targetId ? [userId, targetId] : [userId])),
    known,
  );
  if (pages.isLoading && pages.items.length === 0) return <p role="status" className="text-sm text-soft">Loading…</p>;
  return (
    <>
      {pages.items.length === 0 && !pages.failure ? <p className="text-sm text-soft">Nothing has been changed yet.</p> : null}
      <ol aria-label="What was done" className="space-y-1.5 text-sm">
        {pages.items.map((entry) => (
          <li key={entry.id} className="flex gap-3">
            <span className="min-w-0 flex-1 break-words">
              <span className="font-medium">{nameOf(entry.userId)}</span> {actWords(entry, nameOf)}
            </span>
            <time dateTime={entry.at} title={fullTime(entry.at)} className="shrink-0 text-xs leading-5 text-soft">
              {listTime(entry.at)}
            </time>
          </li>
        ))}
      </ol>
      <MoreButton pages={pages} what="entries" />
    </>
  );
}
