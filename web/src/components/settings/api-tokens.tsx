"use client";

import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Confirm } from "@/components/ui/confirm";
import { CopyButton } from "@/components/ui/copy-button";
import { Dialog } from "@/components/ui/dialog";
import { sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { ago, fullTime, listTime } from "@/lib/time";
import type { ApiToken, ApiTokenMade, User } from "@/lib/types";
import { NewToken } from "./new-token";
import { Part } from "./part";

interface ApiTokensProps {
  tokens: readonly ApiToken[];
  bots: readonly User[];
  onChanged: () => Promise<void>;
}

/** What programs log in with: made, shown once, revoked. */
export function ApiTokens({ tokens, bots, onChanged }: ApiTokensProps) {
  const [made, setMade] = useState<ApiTokenMade | null>(null);
  const [ending, setEnding] = useState<ApiToken | null>(null);
  const revoke = async (token: ApiToken): Promise<void> => {
    try {
      await call({ method: "DELETE", url: `/auth/tokens/${token.id}` });
      await onChanged();
    } catch (trouble) {
      sayFailure(`${token.name} still works`, trouble);
    }
  };
  return (
    <Part title="API tokens">
      <p className="text-sm text-soft">A program that has one acts for you, or for a bot of yours.</p>
      <ul aria-label="API tokens" className="divide-y">
        {tokens.map((token) => (
          <li key={token.id} className="flex items-center gap-3 py-2">
            <TokenLine token={token} bot={bots.find((each) => each.id === token.userId)} />
            <Button look="soft" size="sm" aria-label={`Revoke ${token.name}`} onClick={() => setEnding(token)}>
              Revoke
            </Button>
          </li>
        ))}
      </ul>
      <NewToken
        bots={bots}
        onMade={async (answer) => {
          setMade(answer);
          await onChanged();
        }}
      />
      {made ? <TokenDialog made={made} onClose={() => setMade(null)} /> : null}
      <Confirm
        isOpen={ending !== null}
        onClose={() => setEnding(null)}
        onConfirm={() => ending && void revoke(ending)}
        title={`Revoke ${ending?.name ?? ""}?`}
        text="Programs that have it are cut off at once. That cannot be undone."
        action="Revoke"
      />
    </Part>
  );
}

function TokenLine({ token, bot }: { token: ApiToken; bot: User | undefined }) {
  const isOver = token.expiresAt !== null && Date.parse(token.expiresAt) <= Date.now();
  const end = token.expiresAt === null ? "no end" : `${isOver ? "ended" : "until"} ${listTime(token.expiresAt)}`;
  return (
    <div className="min-w-0 flex-1">
      <p className="truncate text-sm font-medium">
        {token.name}
        {bot ? <span className="ml-2 text-xs text-accent">{bot.name}</span> : null}
      </p>
      <p className="text-xs text-soft" title={`made ${fullTime(token.createdAt)}`}>
        {token.scopes.join(", ")}; {end}; {token.lastUsedAt ? `used ${ago(token.lastUsedAt)}` : "never used"}
      </p>
    </div>
  );
}

function TokenDialog({ made, onClose }: { made: ApiTokenMade; onClose: () => void }) {
  return (
    <Dialog isOpen onClose={onClose} title={made.apiToken.name} description="Keep this token where your program finds it. It is not shown again.">
      <div className="flex items-center gap-2 rounded-lg bg-panel p-3">
        <code aria-label="The token" className="min-w-0 flex-1 font-mono text-sm break-all select-all">
          {made.token}
        </code>
        <CopyButton label="Copy the token" text={() => made.token} />
      </div>
      <Button className="mt-4 w-full" onClick={onClose}>
        I have kept it
      </Button>
    </Dialog>
  );
}
