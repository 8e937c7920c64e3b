"use client";

import { useState } from "react";
import { Avatar } from "@/components/ui/avatar";
import { Button } from "@/components/ui/button";
import { Confirm } from "@/components/ui/confirm";
import { Field } from "@/components/ui/field";
import { sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { explain } from "@/lib/errors";
import type { BotAnswer, BotCreate, User } from "@/lib/types";
import { Part } from "./part";

/** Accounts for which only API tokens speak. */
export function Bots({ bots, onChanged }: { bots: readonly User[]; onChanged: () => Promise<void> }) {
  const [ending, setEnding] = useState<User | null>(null);
  const remove = async (bot: User): Promise<void> => {
    try {
      await call({ method: "DELETE", url: `/users/me/bots/${bot.id}` });
      await onChanged();
    } catch (trouble) {
      sayFailure(`${bot.name} was not removed`, trouble);
    }
  };
  return (
    <Part title="Bots">
      <p className="text-sm text-soft">A bot is an account for a program of yours. It has no password: an API token speaks for it.</p>
      <ul aria-label="Bots" className="divide-y">
        {bots.map((bot) => (
          <li key={bot.id} className="flex items-center gap-3 py-2">
            <Avatar name={bot.name} url={bot.avatarUrl} color={bot.avatarColor} size="sm" />
            <span className="min-w-0 flex-1 truncate text-sm font-medium">{bot.name}</span>
            <Button look="soft" size="sm" aria-label={`Remove ${bot.name}`} onClick={() => setEnding(bot)}>
              Remove
            </Button>
          </li>
        ))}
      </ul>
      <NewBot onMade={onChanged} />
      <Confirm
        isOpen={ending !== null}
        onClose={() => setEnding(null)}
        onConfirm={() => ending && void remove(ending)}
        title={`Remove ${ending?.name ?? ""}?`}
        text="Its API tokens end at once. What it wrote stays, without a name. That cannot be undone."
        action="Remove"
      />
    </Part>
  );
}

function NewBot({ onMade }: { onMade: () => Promise<void> }) {
  const [name, setName] = useState("");
  const [failure, setFailure] = useState<string | undefined>();
  const make = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    setFailure(undefined);
    try {
      const data: BotCreate = { name: name.trim() };
      await call<BotAnswer>({ method: "POST", url: "/users/me/bots", data });
      setName("");
      await onMade();
    } catch (trouble) {
      setFailure(explain(trouble));
    }
  };
  return (
    <form className="flex items-start gap-2" onSubmit={(event) => void make(event)}>
      <div className="flex-1">
        <Field label="Name of a new bot" value={name} maxLength={80} error={failure} onChange={(event) => setName(event.target.value)} />
      </div>
      <Button type="submit" look="soft" className="mt-6.5" disabled={!name.trim()}>
        Make a bot
      </Button>
    </form>
  );
}
