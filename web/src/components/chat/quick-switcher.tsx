"use client";

import { useMemo, useState } from "react";
import { ChoiceList } from "@/components/ui/choice-list";
import { Badge } from "@/components/ui/badge";
import { Dialog } from "@/components/ui/dialog";
import { goTo } from "@/lib/navigate";
import { otherOf, titleOf } from "@/lib/people";
import { useAuth } from "@/stores/auth";
import { inOrder, useChat } from "@/stores/chat";
import { openDialog } from "@/stores/ui";

const MOST = 12;

/** Go to a conversation by a part of its name. */
export function QuickSwitcher() {
  const { sessions, rooms } = useChat();
  const ownId = useAuth((auth) => auth.account?.id ?? "");
  const [query, setQuery] = useState("");
  const choices = useMemo(() => {
    const low = query.toLocaleLowerCase();
    return inOrder(sessions)
      .map((session) => ({ session, title: titleOf(session, otherOf(rooms[session.id]?.members ?? {}, ownId)) }))
      .filter(({ title }) => title.toLocaleLowerCase().includes(low))
      .slice(0, MOST);
  }, [sessions, rooms, ownId, query]);
  const close = (): void => openDialog(null);
  return (
    <Dialog isOpen onClose={close} title="Go to" shape="top">
      <ChoiceList
        label="Conversations"
        placeholder="Name of a conversation"
        query={query}
        onQuery={setQuery}
        choices={choices}
        keyOf={({ session }) => session.id}
        empty="No conversation has that in its name."
        onChoose={({ session }) => {
          close();
          goTo(session.id);
        }}
        render={({ session, title }) => (
          <span className="flex items-center gap-3 text-sm">
            <span className="flex-1 truncate">{title}</span>
            <Badge count={session.unreadCount} label="unread" />
          </span>
        )}
      />
    </Dialog>
  );
}
