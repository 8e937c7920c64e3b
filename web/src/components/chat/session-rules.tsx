"use client";

import { useId, useState } from "react";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { inputClass } from "@/components/ui/input";
import { Switch } from "@/components/ui/switch";
import { sayFailure } from "@/components/ui/toast";
import { cn } from "@/lib/cn";
import { request } from "@/lib/socket";
import type { SessionSummary, SessionUpdate } from "@/lib/types";
import { patchSession } from "@/stores/chat";

const SLOW = [0, 5, 15, 30, 60, 120]; // seconds between two messages of a member

/** Name, and who may write how often. */
export function SessionRules({ session }: { session: SessionSummary }) {
  const id = useId();
  const [name, setName] = useState(session.name ?? "");
  const update = async (change: Omit<SessionUpdate, "sessionId">): Promise<void> => {
    try {
      const answer = await request("session:update", { sessionId: session.id, ...change });
      patchSession(session.id, answer.session);
    } catch (trouble) {
      sayFailure("The change was not kept", trouble);
    }
  };
  return (
    <section aria-label="Rules" className="space-y-4">
      <form
        className="flex items-end gap-2"
        onSubmit={(event) => {
          event.preventDefault();
          void update({ name: name.trim() });
        }}
      >
        <div className="flex-1">
          <Field label="Name" value={name} maxLength={100} onChange={(event) => setName(event.target.value)} />
        </div>
        <Button type="submit" look="soft" disabled={!name.trim() || name.trim() === session.name}>
          Save
        </Button>
      </form>
      <Switch label="Only admins write" isOn={session.readOnly} onChange={(readOnly) => void update({ readOnly })} />
      <Switch label="Archived" isOn={session.archivedAt !== null} onChange={(archived) => void update({ archived })} />
      <div className="flex items-center justify-between gap-3 text-sm">
        <label htmlFor={id}>Slow mode</label>
        <select
          id={id}
          value={session.slowModeSeconds}
          onChange={(event) => void update({ slowModeSeconds: Number(event.target.value) })}
          className={cn(inputClass, "h-9 w-28")}
        >
          {SLOW.map((seconds) => (
            <option key={seconds} value={seconds}>
              {seconds === 0 ? "Off" : `${seconds} s`}
            </option>
          ))}
        </select>
      </div>
    </section>
  );
}
