"use client";

import { useState } from "react";
import { Button } from "@/components/ui/button";
import { MoreButton } from "@/components/ui/more-button";
import { call } from "@/lib/api";
import { accountWords } from "@/lib/audit-words";
import { usePages } from "@/lib/pages";
import { ago, fullTime } from "@/lib/time";
import type { AuditEntry, AuditPage } from "@/lib/types";
import { Part } from "./part";

async function load(after: string | null, signal: AbortSignal) {
  const page = await call<AuditPage>({ url: "/users/me/audit", params: after ? { cursor: after } : {}, signal });
  return { items: page.entries, next: page.nextCursor };
}

/** What was done to one's account, and from where. */
export function History() {
  const [isOpen, setOpen] = useState(false);
  return (
    <Part title="History">
      <div className="flex items-center gap-3">
        <p className="flex-1 text-sm text-soft">Logins and changes of your account, and from which address.</p>
        <Button look="soft" size="sm" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Hide" : "Show"}
        </Button>
      </div>
      {isOpen ? <Entries /> : null}
    </Part>
  );
}

function Entries() {
  const pages = usePages<AuditEntry>(load);
  return (
    <>
      <ol aria-label="What was done to your account" className="divide-y text-sm">
        {pages.items.map((entry, place) => (
          <li key={place} className="flex gap-3 py-2">
            <span className="flex-1">{accountWords(entry.action)}</span>
            <span className="text-xs leading-5 text-soft" title={fullTime(entry.at)}>
              {entry.address ? `${entry.address}, ` : ""}
              {ago(entry.at)}
            </span>
          </li>
        ))}
      </ol>
      <MoreButton pages={pages} what="entries" />
    </>
  );
}
