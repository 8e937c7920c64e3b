"use client";

import { ArrowLeft, BellOff, Info, MailOpen, MoreVertical, Pin, Star } from "lucide-react";
import { Avatar } from "@/components/ui/avatar";
import { Button } from "@/components/ui/button";
import { Menu, MenuItem } from "@/components/ui/menu";
import { sayFailure } from "@/components/ui/toast";
import { Tooltip } from "@/components/ui/tooltip";
import { useDirectPartner } from "@/lib/hooks";
import { goTo } from "@/lib/navigate";
import { titleOf } from "@/lib/people";
import { request } from "@/lib/socket";
import { STATUS_LABEL, statusOf } from "@/lib/status";
import { ago } from "@/lib/time";
import type { SessionSummary } from "@/lib/types";
import { patchSession, placeSession, roomOf, useChat } from "@/stores/chat";
import { usePresence } from "@/stores/presence";
import { openDialog } from "@/stores/ui";

/** Name, who is there, and what one can do with the conversation. */
export function ConversationHeader({ session }: { session: SessionSummary }) {
  const partner = useDirectPartner(session);
  const presence = usePresence((all) => (partner ? all.people[partner.id] : undefined));
  return (
    <header className="flex h-14 shrink-0 items-center gap-3 border-b px-3 md:px-5">
      <Button look="ghost" size="icon" className="md:hidden" aria-label="Back to the conversations" onClick={() => goTo(null)}>
        <ArrowLeft size={20} aria-hidden />
      </Button>
      {session.kind === "DIRECT" ? (
        <Avatar
          name={titleOf(session, partner)}
          url={partner?.avatarUrl ?? null}
          color={partner?.avatarColor ?? "#64748b"}
          size="sm"
          status={statusOf(presence)}
        />
      ) : null}
      <div className="min-w-0 flex-1">
        <h1 className="truncate leading-tight font-semibold">{titleOf(session, partner)}</h1>
        <p className="truncate text-xs text-soft">
          {session.kind === "DIRECT" ? <PartnerState userId={partner?.id} /> : <GroupState session={session} />}
        </p>
      </div>
      <Tooltip label="Details and members" side="bottom">
        <Button look="ghost" size="icon" onClick={() => openDialog("details")}>
          <Info size={19} aria-hidden />
        </Button>
      </Tooltip>
      <ConversationMenu session={session} />
    </header>
  );
}

function PartnerState({ userId }: { userId: string | undefined }) {
  const presence = usePresence((all) => (userId ? all.people[userId] : undefined));
  const status = statusOf(presence);
  if (status === "OFFLINE") return presence?.lastSeen ? `last seen ${ago(presence.lastSeen)}` : "offline";
  return presence?.text ? `${STATUS_LABEL[status]} · ${presence.text}` : STATUS_LABEL[status];
}

function GroupState({ session }: { session: SessionSummary }) {
  const members = useChat((chat) => chat.rooms[session.id]?.members);
  const people = usePresence((presence) => presence.people);
  const counted = usePresence((presence) => presence.online[session.id]);
  const here = Object.keys(members ?? {}).filter((id) => statusOf(people[id]) !== "OFFLINE").length;
  const online = counted ?? here;
  const count = session.memberCount;
  return `${count} ${count === 1 ? "member" : "members"}${online > 0 ? `, ${online} online` : ""}`;
}

function ConversationMenu({ session }: { session: SessionSummary }) {
  const wish = async (wishes: { muted?: boolean; favourite?: boolean }): Promise<void> => {
    try {
      patchSession(session.id, await request("session:prefs", { sessionId: session.id, ...wishes }));
    } catch (trouble) {
      sayFailure("That was not kept", trouble);
    }
  };
  const markUnread = async (): Promise<void> => {
    const last = roomOf(session.id).timeline.rows.findLast((row) => row.status === "sent");
    if (!last) return;
    try {
      placeSession(await request("message:unread", { sessionId: session.id, seq: last.message.seq }));
      patchSession(session.id, { markedUnread: true });
      goTo(null);
    } catch (trouble) {
      sayFailure("It was not marked unread", trouble);
    }
  };
  const trigger = (
    <Button look="ghost" size="icon" aria-label="More">
      <MoreVertical size={19} aria-hidden />
    </Button>
  );
  return (
    <Menu trigger={trigger}>
      <MenuItem icon={<Star size={16} aria-hidden />} onSelect={() => void wish({ favourite: !session.favourite })}>
        {session.favourite ? "Not a favourite any more" : "Favourite"}
      </MenuItem>
      <MenuItem icon={<BellOff size={16} aria-hidden />} onSelect={() => void wish({ muted: !session.muted })}>
        {session.muted ? "Unmute" : "Mute"}
      </MenuItem>
      <MenuItem icon={<MailOpen size={16} aria-hidden />} onSelect={() => void markUnread()}>
        Mark unread
      </MenuItem>
      <MenuItem icon={<Pin size={16} aria-hidden />} onSelect={() => openDialog("pins")}>
        Pinned messages
      </MenuItem>
    </Menu>
  );
}
