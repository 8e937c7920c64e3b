"use client";

import Link from "next/link";
import { useRouter } from "next/navigation";
import { useEffect, useState } from "react";
import { Logo } from "@/components/logo";
import { Button, buttonClass } from "@/components/ui/button";
import { call } from "@/lib/api";
import { explain, toApiError } from "@/lib/errors";
import type { InvitePreview, SessionAnswer } from "@/lib/types";

const GONE = "This link does not work any more.";

function said(trouble: unknown): string {
  return toApiError(trouble).code === "not_found" ? GONE : explain(trouble);
}

/** Where an invite link leads: what it is, and a button that goes in. */
export function InvitePage() {
  const router = useRouter();
  const [code, setCode] = useState("");
  const [preview, setPreview] = useState<InvitePreview | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    const named = new URLSearchParams(window.location.search).get("code") ?? "";
    setCode(named);
    call<InvitePreview>({ url: `/chat/invites/${encodeURIComponent(named)}` }).then(setPreview, (trouble: unknown) =>
      setFailure(said(trouble)),
    );
  }, []);
  const accept = async (): Promise<void> => {
    setFailure(null);
    try {
      const request = { method: "POST", url: `/chat/invites/${encodeURIComponent(code)}` };
      const { session } = await call<SessionAnswer>(request);
      router.replace(`/chat/?s=${session.id}`);
    } catch (trouble) {
      setFailure(said(trouble));
    }
  };
  return (
    <main className="grid h-dvh place-items-center bg-panel p-4">
      <div className="w-full max-w-sm space-y-4 rounded-2xl border bg-raised p-7 text-center shadow-sm">
        <Logo />
        <h1 className="text-xl font-semibold">{preview ? `Join ${preview.name ?? "this conversation"}` : "Invitation"}</h1>
        {preview ? (
          <p className="text-sm text-soft">
            {preview.memberCount} {preview.memberCount === 1 ? "member" : "members"}
          </p>
        ) : null}
        {failure ? (
          <p role="alert" className="text-sm text-danger">
            {failure}
          </p>
        ) : null}
        {preview && failure !== GONE ? (
          <Button className="w-full" onClick={() => void accept()}>
            Join
          </Button>
        ) : null}
        {failure || !preview ? (
          <Link href="/chat/" className={buttonClass({ look: "soft" })}>
            Go to the chat
          </Link>
        ) : null}
      </div>
    </main>
  );
}
