"use client";

import { useRouter } from "next/navigation";
import { Fragment, useEffect, type ReactNode } from "react";
import { Button } from "@/components/ui/button";
import { Logo } from "@/components/logo";
import { startAuth, useAuth } from "@/stores/auth";

/** A page that says that something is under way, or that the server did not answer. */
export function Waiting() {
  const isUnreachable = useAuth((auth) => auth.state === "unreachable");
  useEffect(() => {
    if (!isUnreachable) return undefined;
    const timer = setInterval(() => void startAuth(), 5000);
    return () => clearInterval(timer);
  }, [isUnreachable]);
  return (
    <main className="grid h-dvh place-items-center p-6 text-center">
      <div className="space-y-4">
        <h1>
          <Logo />
        </h1>
        <p role="status" className="text-soft">
          {isUnreachable ? "The server does not answer. Trying again every few seconds." : "One moment…"}
        </p>
        {isUnreachable ? <Button onClick={() => void startAuth()}>Try now</Button> : null}
      </div>
    </main>
  );
}

/** Shows its children to whoever is logged in, anew to each, and sends others to the login. */
export function Guard({ children }: { children: ReactNode }) {
  const state = useAuth((auth) => auth.state);
  const userId = useAuth((auth) => auth.account?.id);
  const router = useRouter();
  useEffect(() => {
    if (state !== "out") return;
    const here = window.location.pathname + window.location.search;
    router.replace(here === "/chat/" ? "/login/" : `/login/?next=${encodeURIComponent(here)}`);
  }, [state, router]);
  // Another tab may log in as somebody else: nothing half-written goes over to them.
  return state === "in" ? <Fragment key={userId}>{children}</Fragment> : <Waiting />;
}
