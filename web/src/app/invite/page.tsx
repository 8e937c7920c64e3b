import type { Metadata } from "next";
import { Guard } from "@/components/auth/guard";
import { InvitePage } from "@/components/chat/invite-page";

export const metadata: Metadata = { title: "Invitation" };

export default function InviteRoute() {
  return (
    <Guard>
      <InvitePage />
    </Guard>
  );
}
