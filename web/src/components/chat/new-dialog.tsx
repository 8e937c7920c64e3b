"use client";

import { Hash, User as UserIcon, Users, X } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { ChoiceList } from "@/components/ui/choice-list";
import { Dialog } from "@/components/ui/dialog";
import { Field } from "@/components/ui/field";
import { call } from "@/lib/api";
import { cn } from "@/lib/cn";
import { explain } from "@/lib/errors";
import { goTo } from "@/lib/navigate";
import { loadSessions } from "@/lib/rooms";
import type { SessionAnswer, SessionCreate, User } from "@/lib/types";
import { useUserSearch } from "@/lib/user-search";
import { useAuth } from "@/stores/auth";
import { openDialog } from "@/stores/ui";
import { PersonLine } from "./person-line";

type Kind = SessionCreate["kind"];

const KINDS: readonly [Kind, string, typeof Users][] = [
  ["DIRECT", "One person", UserIcon],
  ["GROUP", "Group", Users],
  ["PUBLIC", "Public", Hash],
];

/** Begin a conversation. */
export function NewDialog() {
  const ownId = useAuth((auth) => auth.account?.id);
  const [kind, setKind] = useState<Kind>("DIRECT");
  const [name, setName] = useState("");
  const [people, setPeople] = useState<readonly User[]>([]);
  const [query, setQuery] = useState("");
  const [failure, setFailure] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const search = useUserSearch(query);
  const choices = search.users.filter((user) => user.id !== ownId && !people.some((each) => each.id === user.id));
  const close = (): void => openDialog(null);

  const create = async (memberIds: string[]): Promise<void> => {
    setBusy(true);
    setFailure(null);
    try {
      const data: SessionCreate = kind === "DIRECT" ? { kind, memberIds } : { kind, name: name.trim(), memberIds };
      const { session } = await call<SessionAnswer>({ method: "POST", url: "/chat/sessions", data });
      await loadSessions();
      close();
      goTo(session.id);
    } catch (trouble) {
      setFailure(explain(trouble));
      setBusy(false);
    }
  };
  const choose = (user: User): void => {
    if (kind === "DIRECT") void create([user.id]);
    else setPeople([...people, user]);
    setQuery("");
  };

  return (
    <Dialog isOpen onClose={close} title="New conversation" shape="top">
      <div className="space-y-4">
        <div role="radiogroup" aria-label="Kind of conversation" className="grid grid-cols-3 gap-2">
          {KINDS.map(([each, label, Icon]) => (
            <button
              key={each}
              type="button"
              role="radio"
              aria-checked={kind === each}
              onClick={() => setKind(each)}
              className={cn(
                "flex flex-col items-center gap-1 rounded-xl border py-2.5 text-sm font-medium",
                kind === each ? "border-accent bg-accent-soft text-accent" : "hover:bg-panel",
              )}
            >
              <Icon size={18} aria-hidden />
              {label}
            </button>
          ))}
        </div>
        {kind === "DIRECT" ? null : (
          <Field label="Name" value={name} maxLength={100} onChange={(event) => setName(event.target.value)} />
        )}
        {people.length > 0 && kind !== "DIRECT" ? (
          <ul aria-label="Chosen people" className="flex flex-wrap gap-2">
            {people.map((user) => (
              <li key={user.id} className="flex items-center gap-1 rounded-full bg-accent-soft py-1 pr-1 pl-3 text-sm">
                {user.name}
                <Button
                  look="ghost"
                  size="tiny"
                  className="size-6 rounded-full"
                  aria-label={`Leave out ${user.name}`}
                  onClick={() => setPeople(people.filter((each) => each.id !== user.id))}
                >
                  <X size={14} aria-hidden />
                </Button>
              </li>
            ))}
          </ul>
        ) : null}
        {failure ?? search.failure ? (
          <p role="alert" className="rounded-lg bg-danger-soft px-3 py-2 text-sm text-danger">
            {failure ?? search.failure}
          </p>
        ) : null}
        <ChoiceList
          label="People"
          placeholder="A name, or a whole e-mail address"
          query={query}
          onQuery={setQuery}
          choices={choices}
          keyOf={(user) => user.id}
          render={(user) => <PersonLine user={user} />}
          onChoose={choose}
          empty={query ? "Nobody has that name." : "There is nobody else here yet."}
        />
        {kind === "DIRECT" ? null : (
          <Button className="w-full" disabled={isBusy || name.trim() === ""} onClick={() => void create(people.map((each) => each.id))}>
            {kind === "GROUP" ? "Create the group" : "Create for everybody"}
          </Button>
        )}
      </div>
    </Dialog>
  );
}
