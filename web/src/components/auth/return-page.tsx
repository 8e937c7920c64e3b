"use client";

import Link from "next/link";
import { useRouter } from "next/navigation";
import { useEffect, useRef, useState } from "react";
import { buttonClass } from "@/components/ui/button";
import { Logo } from "@/components/logo";
import { explain } from "@/lib/errors";
import { nextPage } from "@/lib/next";
import { exchange, useAuth } from "@/stores/auth";

/** Where the sign-in elsewhere comes back: the one-time code becomes a login. */
export function ReturnPage() {
  const isReady = useAuth((auth) => auth.config !== null);
  const router = useRouter();
  const isSent = useRef(false);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    if (!isReady || isSent.current) return;
    isSent.current = true; // the code is good once
    const { search } = window.location;
    const code = new URLSearchParams(search).get("code") ?? "";
    window.history.replaceState(null, "", window.location.pathname);
    exchange(code).then(
      () => router.replace(nextPage(search)),
      (trouble: unknown) => setFailure(explain(trouble)),
    );
  }, [isReady, router]);
  return (
    <main className="grid h-dvh place-items-center p-6 text-center">
      <div className="space-y-4">
        <Logo />
        <h1 className="text-xl font-semibold">{failure ? "The sign-in did not work" : "Signing you in…"}</h1>
        {failure ? (
          <>
            <p role="alert" className="text-soft">
              {failure}
            </p>
            <Link href="/login/" className={buttonClass()}>
              Back to the login
            </Link>
          </>
        ) : null}
      </div>
    </main>
  );
}
