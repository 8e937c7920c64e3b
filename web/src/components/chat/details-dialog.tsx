"use client";

import { LogOut, Trash2 } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Confirm } from "@/components/ui/confirm";
import { Dialog } from "@/components/ui/dialog";
import { sayFailure } from "@/components/ui/toast";
import { useDirectPartner } from "@/lib/hooks";
import { goTo } from "@/lib/navigate";
import { titleOf } from "@/lib/people";
import { request } from "@/lib/socket";
import { dropSession, useChat } from "@/stores/chat";
import { openDialog } from "@/stores/ui";
import { Bans } from "./bans";
import { Invites } from "./invites";
import { Members } from "./members";
import { SessionAudit } from "./session-audit";
import { SessionRules } from "./session-rules";

/** Everything about the open conversation: its rules, its members, the ways in and out. */
export function DetailsDialog() {
  const session = useChat((chat) => (chat.openId ? chat.sessions[chat.openId] : undefined));
  const partner = useDirectPartner(session);
  const [asking, setAsking] = useState<"leave" | "delete" | null>(null);
  if (!session) return null;
  const close = (): void => openDialog(null);
  const isAdmin = session.role === "OWNER" || session.role === "ADMIN";

  const end = async (): Promise<void> => {
    try {
      if (asking === "delete") await request("session:delete", { sessionId: session.id });
      else await request("member:remove", { sessionId: session.id });
      close();
      dropSession(session.id);
      goTo(null);
    } catch (trouble) {
      sayFailure(asking === "delete" ? "It was not deleted" : "You have not left", trouble);
    }
  };

  return (
    <Dialog isOpen onClose={close} title={titleOf(session, partner)} shape="sheet">
      <div className="space-y-6">
        {isAdmin && session.kind !== "DIRECT" ? <SessionRules session={session} /> : null}
        <Members session={session} />
        {isAdmin && session.kind !== "DIRECT" ? (
          <>
            <Invites sessionId={session.id} />
            <Bans session={session} />
            <SessionAudit sessionId={session.id} />
          </>
        ) : null}
        {session.kind === "DIRECT" ? null : (
          <section className="space-y-2 border-t pt-4">
            <Button look="soft" className="w-full justify-start" onClick={() => setAsking("leave")}>
              <LogOut size={16} aria-hidden /> Leave
            </Button>
            {session.role === "OWNER" ? (
              <Button look="danger" className="w-full justify-start" onClick={() => setAsking("delete")}>
                <Trash2 size={16} aria-hidden /> Delete for everybody
              </Button>
            ) : null}
          </section>
        )}
      </div>
      <Confirm
        isOpen={asking !== null}
        onClose={() => setAsking(null)}
        onConfirm={() => void end()}
        title={asking === "delete" ? "Delete this conversation?" : "Leave this conversation?"}
        text={
          asking === "delete"
            ? "It is gone for everybody, with every message. That cannot be undone."
            : "You will not receive its messages any more."
        }
        action={asking === "delete" ? "Delete" : "Leave"}
      />
    </Dialog>
  );
}
