"use client";

import { MoreHorizontal, UserPlus } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { ChoiceList } from "@/components/ui/choice-list";
import { MoreButton } from "@/components/ui/more-button";
import { Menu, MenuItem, MenuLine } from "@/components/ui/menu";
import { sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { useMemberPages } from "@/lib/hooks";
import { goTo } from "@/lib/navigate";
import { loadSessions } from "@/lib/rooms";
import { request } from "@/lib/socket";
import type { Member, SessionAnswer, SessionSummary, User } from "@/lib/types";
import { useUserSearch } from "@/lib/user-search";
import { useAuth } from "@/stores/auth";
import { patchRoom, roomOf, useChat } from "@/stores/chat";
import { openDialog } from "@/stores/ui";
import { PersonLine } from "./person-line";

const RANK = { OWNER: 3, ADMIN: 2, MEMBER: 1, READ_ONLY: 0 };
const ROLE_LABEL = { OWNER: "Owner", ADMIN: "Admin", MEMBER: "", READ_ONLY: "Reads only" };
const HOUR_MS = 3_600_000;
const NONE = {};

function ranked(members: Readonly<Record<string, Member>>): Member[] {
  return Object.values(members).toSorted(
    (a, b) => RANK[b.role] - RANK[a.role] || a.user.name.localeCompare(b.user.name),
  );
}

function keepMember(sessionId: string, member: Member): void {
  patchRoom(sessionId, { members: { ...roomOf(sessionId).members, [member.user.id]: member } });
}

/** Who is in a conversation, and what an admin can do with them. */
export function Members({ session }: { session: SessionSummary }) {
  const members = useChat((chat) => chat.rooms[session.id]?.members ?? NONE) as Record<string, Member>;
  const [isAdding, setAdding] = useState(false);
  const isAdmin = session.role === "OWNER" || session.role === "ADMIN";
  const pages = useMemberPages(session.id);
  return (
    <section aria-labelledby="members-title" className="space-y-2">
      <div className="flex items-center justify-between">
        <h2 id="members-title" className="text-sm font-semibold">
          {session.memberCount} {session.memberCount === 1 ? "member" : "members"}
        </h2>
        {isAdmin && session.kind !== "DIRECT" ? (
          <Button look="soft" size="sm" aria-expanded={isAdding} onClick={() => setAdding(!isAdding)}>
            <UserPlus size={15} aria-hidden /> Add
          </Button>
        ) : null}
      </div>
      {isAdding ? <AddMember session={session} members={members} /> : null}
      <ul className="space-y-1">
        {ranked(members).map((member) => (
          <li key={member.user.id}>
            <PersonLine user={member.user}>
              <span className="text-xs text-soft">{ROLE_LABEL[member.role]}</span>
              <MemberMenu session={session} member={member} />
            </PersonLine>
          </li>
        ))}
      </ul>
      <MoreButton pages={pages} what="members" />
    </section>
  );
}

function AddMember({ session, members }: { session: SessionSummary; members: Readonly<Record<string, Member>> }) {
  const [query, setQuery] = useState("");
  const { users, failure } = useUserSearch(query);
  const add = async (user: User): Promise<void> => {
    try {
      const { member } = await request("member:add", { sessionId: session.id, userId: user.id });
      keepMember(session.id, member);
      setQuery("");
    } catch (trouble) {
      sayFailure(`${user.name} was not added`, trouble);
    }
  };
  return (
    <ChoiceList
      label="People to add"
      placeholder="A name, or a whole e-mail address"
      query={query}
      onQuery={setQuery}
      choices={users.filter((user) => !(user.id in members)).slice(0, 6)}
      keyOf={(user) => user.id}
      render={(user) => <PersonLine user={user} />}
      onChoose={(user) => void add(user)}
      empty={failure ?? "There is nobody to add."}
    />
  );
}

function MemberMenu({ session, member }: { session: SessionSummary; member: Member }) {
  const ownId = useAuth((auth) => auth.account?.id);
  const { user, role } = member;
  if (user.id === ownId) return <span className="size-8" />;
  const isAbove = session.role === "OWNER" || (session.role === "ADMIN" && RANK[role] < RANK.ADMIN);
  const mayRule = session.kind !== "DIRECT" && isAbove;
  const isMuted = member.mutedUntil != null && Date.parse(member.mutedUntil) > Date.now();

  const act = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (trouble) {
      sayFailure(what, trouble);
    }
  };
  const update = (change: { role?: Member["role"]; mutedUntil?: string | null }): Promise<void> =>
    act("The change was not kept", async () => {
      const answer = await request("member:update", { sessionId: session.id, userId: user.id, ...change });
      keepMember(session.id, answer.member);
    });
  const write = (): Promise<void> =>
    act("The conversation was not opened", async () => {
      const data = { kind: "DIRECT", memberIds: [user.id] };
      const answer = await call<SessionAnswer>({ method: "POST", url: "/chat/sessions", data });
      await loadSessions();
      openDialog(null);
      goTo(answer.session.id);
    });
  const remove = (): Promise<void> =>
    act(`${user.name} was not removed`, async () => {
      await request("member:remove", { sessionId: session.id, userId: user.id });
    });
  const ban = (): Promise<void> =>
    act(`${user.name} was not banned`, async () => {
      await request("member:ban", { sessionId: session.id, userId: user.id });
    });
  const trigger = (
    <Button look="ghost" size="tiny" aria-label={`More about ${user.name}`}>
      <MoreHorizontal size={16} aria-hidden />
    </Button>
  );
  return (
    <Menu trigger={trigger}>
      {session.kind === "DIRECT" ? null : <MenuItem onSelect={() => void write()}>Write to {user.name}</MenuItem>}
      {mayRule ? (
        <>
          <MenuLine />
          {session.role === "OWNER" && role !== "ADMIN" ? <MenuItem onSelect={() => void update({ role: "ADMIN" })}>Make admin</MenuItem> : null}
          {role === "MEMBER" ? null : <MenuItem onSelect={() => void update({ role: "MEMBER" })}>Make member</MenuItem>}
          {role === "READ_ONLY" ? null : <MenuItem onSelect={() => void update({ role: "READ_ONLY" })}>Let read only</MenuItem>}
          <MenuItem onSelect={() => void update({ mutedUntil: isMuted ? null : new Date(Date.now() + HOUR_MS).toISOString() })}>
            {isMuted ? "Let write again" : "Mute for an hour"}
          </MenuItem>
          <MenuLine />
          <MenuItem isDanger onSelect={() => void remove()}>
            Remove
          </MenuItem>
          <MenuItem isDanger onSelect={() => void ban()}>
            Ban
          </MenuItem>
        </>
      ) : null}
    </Menu>
  );
}
