import { useCallback, useEffect } from "react";
import { useAuth } from "@/stores/auth";
import { patchRoom, roomOf, useChat } from "@/stores/chat";
import { call } from "./api";
import { usePages, type Page, type Paged } from "./pages";
import { otherOf } from "./people";
import type { Member, MemberPage, SessionSummary, User } from "./types";

const MEMBERS = 100; // of one page
const asking = new Set<string>();

/** Put a page of a conversation's members behind those that are known. Throws ApiError. */
async function loadMemberPage(sessionId: string, after: string | null, signal?: AbortSignal): Promise<Page<Member>> {
  const params = { limit: MEMBERS, ...(after ? { after } : {}) };
  const url = `/chat/sessions/${sessionId}/members`;
  const page = await call<MemberPage>({ url, params, ...(signal ? { signal } : {}) });
  const members = Object.fromEntries(page.members.map((each) => [each.user.id, each]));
  patchRoom(sessionId, { members: { ...roomOf(sessionId).members, ...members } });
  return { items: page.members, next: page.nextAfter };
}

/** Read who is in a conversation, once at a time: its list line shows the other one's name. */
async function loadMembers(sessionId: string): Promise<void> {
  if (asking.has(sessionId)) return;
  asking.add(sessionId);
  try {
    await loadMemberPage(sessionId, null);
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

/** Read the members of a conversation page by page; they come into its room. */
export function useMemberPages(sessionId: string): Paged<Member> {
  // A join puts what it tells in the place of what was read: then it is read anew.
  const isJoined = useChat((chat) => chat.rooms[sessionId]?.isJoined ?? false);
  const load = useCallback(
    (after: string | null, signal: AbortSignal) => loadMemberPage(sessionId, after, signal),
    [sessionId, isJoined],
  );
  return usePages(load);
}
