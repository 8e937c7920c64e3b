"use client";

import { useCallback } from "react";
import { Button } from "@/components/ui/button";
import { MoreButton } from "@/components/ui/more-button";
import { sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { usePages } from "@/lib/pages";
import { request } from "@/lib/socket";
import { listTime } from "@/lib/time";
import type { Ban, BanPage, SessionSummary } from "@/lib/types";
import { PersonLine } from "./person-line";

/** Who may not come back into a conversation, and the way back for each. */
export function Bans({ session }: { session: SessionSummary }) {
  const { id, memberCount } = session;
  const load = useCallback(
    async (after: string | null, signal: AbortSignal) => {
      const params = after ? { after } : {};
      const page = await call<BanPage>({ url: `/chat/sessions/${id}/bans`, params, signal });
      return { items: page.bans, next: page.nextAfter };
    },
    [id, memberCount], // who is banned is no member any more
  );
  const pages = usePages<Ban>(load);
  const lift = async ({ user }: Ban): Promise<void> => {
    try {
      await request("member:unban", { sessionId: id, userId: user.id });
      pages.edit((bans) => bans.filter((each) => each.user.id !== user.id));
    } catch (trouble) {
      sayFailure(`The ban of ${user.name} was not lifted`, trouble);
    }
  };
  if (pages.items.length === 0 && !pages.failure) return null;
  return (
    <section aria-labelledby="bans-title" className="space-y-2">
      <h2 id="bans-title" className="text-sm font-semibold">
        Banned
      </h2>
      <ul className="space-y-1">
        {pages.items.map((ban) => (
          <li key={ban.user.id}>
            <PersonLine user={ban.user}>
              <Button look="soft" size="sm" aria-label={`Lift the ban of ${ban.user.name}`} onClick={() => void lift(ban)}>
                Lift
              </Button>
            </PersonLine>
            <p className="pl-11 text-xs text-soft">
              {ban.until ? `until ${listTime(ban.until)}` : "until it is lifted"}
              {ban.reason ? `: ${ban.reason}` : ""}
            </p>
          </li>
        ))}
      </ul>
      <MoreButton pages={pages} what="bans" />
    </section>
  );
}
