import type { Metadata } from "next";
import { Suspense } from "react";
import { Guard, Waiting } from "@/components/auth/guard";
import { ChatShell } from "@/components/chat/chat-shell";

export const metadata: Metadata = { title: "Chat" };

export default function ChatPage() {
  return (
    <Guard>
      <Suspense fallback={<Waiting />}>
        <ChatShell />
      </Suspense>
    </Guard>
  );
}
