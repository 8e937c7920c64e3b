"use client";

import { useEffect, useMemo, useState, type KeyboardEvent, type RefObject } from "react";
import { Avatar } from "@/components/ui/avatar";
import { cn } from "@/lib/cn";
import { nameBefore } from "@/lib/mentions";
import type { User } from "@/lib/types";
import { useAuth } from "@/stores/auth";
import { useChat } from "@/stores/chat";

const MOST = 6; // names that are offered

export interface Mentions {
  isOpen: boolean;
  people: readonly User[];
  active: number;
  activeId: string | undefined;
  choose: (user: User) => void;
  /** Take a key that is the list's; returns whether it was. */
  press: (event: KeyboardEvent) => boolean;
}

/** Offer the names of members while somebody writes `@`. */
export function useMentions(
  sessionId: string,
  text: string,
  box: RefObject<HTMLTextAreaElement | null>,
  setText: (text: string) => void,
): Mentions {
  const members = useChat((chat) => chat.rooms[sessionId]?.members);
  const ownId = useAuth((auth) => auth.account?.id);
  const [active, setActive] = useState(0);
  const [closedAt, setClosedAt] = useState<string | null>(null);
  const place = nameBefore(text, box.current?.selectionStart ?? text.length);
  const query = place?.query.toLocaleLowerCase();
  const people = useMemo(() => {
    if (query === undefined) return [];
    return Object.values(members ?? {})
      .map((each) => each.user)
      .filter((user) => user.id !== ownId && user.name.toLocaleLowerCase().includes(query))
      .toSorted((a, b) => a.name.localeCompare(b.name))
      .slice(0, MOST);
  }, [members, ownId, query]);
  useEffect(() => setActive(0), [query]);
  const isOpen = place !== null && people.length > 0 && closedAt !== text;

  const choose = (user: User): void => {
    if (!place) return;
    const caret = box.current?.selectionStart ?? text.length;
    const name = `@${user.name} `;
    setText(text.slice(0, place.at) + name + text.slice(caret));
    requestAnimationFrame(() => {
      box.current?.focus();
      box.current?.setSelectionRange(place.at + name.length, place.at + name.length);
    });
  };
  const press = (event: KeyboardEvent): boolean => {
    if (!isOpen) return false;
    const chosen = people[active];
    if (event.key === "ArrowDown") setActive((active + 1) % people.length);
    else if (event.key === "ArrowUp") setActive((active + people.length - 1) % people.length);
    else if ((event.key === "Enter" || event.key === "Tab") && chosen) choose(chosen);
    else if (event.key === "Escape") setClosedAt(text);
    else return false;
    event.preventDefault();
    return true;
  };
  return { isOpen, people, active, activeId: isOpen ? `mention-${active}` : undefined, choose, press };
}

export function MentionList({ mentions }: { mentions: Mentions }) {
  if (!mentions.isOpen) return null;
  return (
    <ul
      id="mentions"
      role="listbox"
      aria-label="People to mention"
      className="absolute bottom-full left-2 z-20 mb-2 w-64 rounded-xl border bg-raised p-1 shadow-lg"
    >
      {mentions.people.map((user, place) => (
        <li
          key={user.id}
          id={`mention-${place}`}
          role="option"
          aria-selected={place === mentions.active}
          onPointerDown={(event) => {
            event.preventDefault(); // the caret stays in the box
            mentions.choose(user);
          }}
          className={cn("flex items-center gap-2.5 rounded-lg px-2 py-1.5 text-sm", place === mentions.active && "bg-accent-soft")}
        >
          <Avatar name={user.name} url={user.avatarUrl} color={user.avatarColor} size="sm" />
          {user.name}
        </li>
      ))}
    </ul>
  );
}
