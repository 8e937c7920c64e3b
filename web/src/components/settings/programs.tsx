"use client";

import { useCallback, useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { call } from "@/lib/api";
import { explain } from "@/lib/errors";
import type { ApiToken, ApiTokens as ApiTokensAnswer, Bots as BotsAnswer, User } from "@/lib/types";
import { ApiTokens } from "./api-tokens";
import { Bots } from "./bots";

/** Bots and API tokens: what programs come in with. */
export function Programs() {
  const [shown, setShown] = useState<{ bots: readonly User[]; tokens: readonly ApiToken[] } | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const load = useCallback(async (): Promise<void> => {
    setFailure(null);
    try {
      const { bots } = await call<BotsAnswer>({ url: "/users/me/bots" });
      const { tokens } = await call<ApiTokensAnswer>({ url: "/auth/tokens" });
      setShown({ bots, tokens });
    } catch (trouble) {
      setFailure(explain(trouble));
    }
  }, []);
  useEffect(() => void load(), [load]);
  return (
    <>
      {failure ? (
        <div role="alert" className="flex items-center gap-3 rounded-2xl bg-danger-soft px-5 py-3 text-sm text-danger">
          <span className="flex-1">Your bots and API tokens did not come. {failure}</span>
          <Button look="outline" size="sm" onClick={() => void load()}>
            Try again
          </Button>
        </div>
      ) : null}
      {shown ? (
        <>
          <Bots bots={shown.bots} onChanged={load} />
          <ApiTokens tokens={shown.tokens} bots={shown.bots} onChanged={load} />
        </>
      ) : null}
    </>
  );
}
