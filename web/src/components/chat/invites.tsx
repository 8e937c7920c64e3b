"use client";

import { Link2, X } from "lucide-react";
import { useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { CopyButton } from "@/components/ui/copy-button";
import { say, sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { copied } from "@/lib/clipboard";
import { request } from "@/lib/socket";
import { listTime } from "@/lib/time";
import type { Invite, Invites as InvitesAnswer } from "@/lib/types";

const WEEK_MS = 7 * 86_400_000;

function urlOf({ code }: Invite): string {
  return `${window.location.origin}/invite/?code=${encodeURIComponent(code)}`;
}

/** The links by which others come in. */
export function Invites({ sessionId }: { sessionId: string }) {
  const [invites, setInvites] = useState<readonly Invite[]>([]);
  useEffect(() => {
    call<InvitesAnswer>({ url: `/chat/sessions/${sessionId}/invites` }).then(
      (answer) => setInvites(answer.invites),
      (trouble: unknown) => sayFailure("The invite links did not come", trouble),
    );
  }, [sessionId]);
  const make = async (): Promise<void> => {
    try {
      const { invite } = await request("invite:make", { sessionId, expiresInMs: WEEK_MS });
      setInvites([invite, ...invites]);
      if (await copied(urlOf(invite))) say("The link is copied");
      else say("Copy this link", urlOf(invite));
    } catch (trouble) {
      sayFailure("No link was made", trouble);
    }
  };
  const revoke = async ({ code }: Invite): Promise<void> => {
    try {
      await request("invite:revoke", { sessionId, code });
      setInvites(invites.filter((each) => each.code !== code));
    } catch (trouble) {
      sayFailure("The link still works", trouble);
    }
  };
  return (
    <section aria-labelledby="invites-title" className="space-y-2">
      <div className="flex items-center justify-between">
        <h2 id="invites-title" className="text-sm font-semibold">
          Invite links
        </h2>
        <Button look="soft" size="sm" onClick={() => void make()}>
          <Link2 size={15} aria-hidden /> New link
        </Button>
      </div>
      <ul className="space-y-1">
        {invites.map((invite) => (
          <li key={invite.code} className="flex items-center gap-1 text-sm">
            <span className="min-w-0 flex-1 truncate text-soft">
              {invite.expiresAt ? `until ${listTime(invite.expiresAt)}` : "no end"}, used {invite.uses} times
            </span>
            <CopyButton label="Copy the link" text={() => urlOf(invite)} onRefused={() => say("Copy this link", urlOf(invite))} />
            <Button look="ghost" size="tiny" aria-label="End the link" onClick={() => void revoke(invite)}>
              <X size={15} aria-hidden />
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
