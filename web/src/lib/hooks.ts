import { useEffect } from "react";
import { useAuth } from "@/stores/auth";
import { patchRoom, roomOf, useChat } from "@/stores/chat";
import { call } from "./api";
import { otherOf } from "./people";
import type { MemberPage, SessionSummary, User } from "./types";

const asking = new Set<string>();

/** Read who is in a conversation, once at a time: its list line shows the other one's name. */
async function loadMembers(sessionId: string): Promise<void> {
  if (asking.has(sessionId)) return;
  asking.add(sessionId);
  try {
    const page = await call<MemberPage>({ url: `/chat/sessions/${sessionId}/members` });
    const members = Object.fromEntries(page.members.map((each) => [each.user.id, each]));
    patchRoom(sessionId, { members: { ...members, ...roomOf(sessionId).members } });
  } catch {
    // Asked again when it is shown again.
  } finally {
    asking.delete(sessionId);
  }
}

/** The other one of a conversation of two. */
export function useDirectPartner(session: SessionSummary | undefined): User | undefined {
  const ownId = useAuth((auth) => auth.account?.id ?? "");
  const members = useChat((chat) => (session ? chat.rooms[session.id]?.members : undefined));
  const partner = session?.kind === "DIRECT" && members ? otherOf(members, ownId) : undefined;
  const isWanted = session?.kind === "DIRECT" && partner === undefined;
  const id = session?.id;
  useEffect(() => {
    if (isWanted && id) void loadMembers(id);
  }, [isWanted, id]);
  return partner;
}
