"use client";

import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { SelectField } from "@/components/ui/select-field";
import { call } from "@/lib/api";
import { explain } from "@/lib/errors";
import type { ApiTokenCreate, ApiTokenMade, User } from "@/lib/types";

type Scope = ApiTokenCreate["scopes"][number];

const DAY_MS = 86_400_000;
const SCOPES: readonly (readonly [Scope, string])[] = [
  ["read", "read and hear everything that the account does"],
  ["write", "write, react, and change its own profile"],
  ["manage", "open conversations, and look after their members"],
];
const DAYS: readonly (readonly [string, string])[] = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "a year"],
  ["", "no end"],
];

/** A form that makes an API token. */
export function NewToken({ bots, onMade }: { bots: readonly User[]; onMade: (made: ApiTokenMade) => Promise<void> }) {
  const [name, setName] = useState("");
  const [botId, setBotId] = useState("");
  const [days, setDays] = useState("90");
  const [scopes, setScopes] = useState<readonly Scope[]>(["read", "write"]);
  const [failure, setFailure] = useState<string | undefined>();
  const make = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    setFailure(undefined);
    const data: ApiTokenCreate = {
      name: name.trim(),
      scopes: [...scopes],
      expiresAt: days ? new Date(Date.now() + Number(days) * DAY_MS).toISOString() : null,
      ...(bots.some((bot) => bot.id === botId) ? { botId } : {}),
    };
    try {
      const made = await call<ApiTokenMade>({ method: "POST", url: "/auth/tokens", data });
      setName("");
      await onMade(made);
    } catch (trouble) {
      setFailure(explain(trouble));
    }
  };
  const toggle = (scope: Scope, isOn: boolean): void => setScopes(isOn ? [...scopes, scope] : scopes.filter((each) => each !== scope));
  return (
    <form className="space-y-3" onSubmit={(event) => void make(event)}>
      <Field label="Name of a new token" value={name} maxLength={80} error={failure} onChange={(event) => setName(event.target.value)} />
      <div className="grid gap-3 sm:grid-cols-2">
        <SelectField label="It speaks for" value={botId} onChange={setBotId} choices={[["", "me"], ...bots.map(({ id, name: bot }) => [id, bot] as const)]} />
        <SelectField label="It is good for" value={days} onChange={setDays} choices={DAYS} />
      </div>
      <fieldset className="space-y-1 text-sm">
        <legend className="mb-1 font-medium">It may</legend>
        {SCOPES.map(([scope, label]) => (
          <label key={scope} className="flex min-h-6 items-center gap-2">
            <input
              type="checkbox"
              checked={scopes.includes(scope)}
              onChange={(event) => toggle(scope, event.target.checked)}
              className="size-4 shrink-0 accent-accent"
            />
            {label}
          </label>
        ))}
      </fieldset>
      <Button type="submit" look="soft" disabled={!name.trim() || scopes.length === 0}>
        Make a token
      </Button>
    </form>
  );
}
