"use client";

import { useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { tryNow } from "@/lib/socket";
import { useUi } from "@/stores/ui";

const PATIENCE_MS = 3000; // a first connect that takes longer is told

/** Seconds until a time, told anew each second. */
function useCountdown(at: number | null): number | null {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (at === null) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [at]);
  return at === null ? null : Math.max(0, Math.ceil((at - now) / 1000));
}

/** Whether something has been so for longer than anybody should be left without a word. */
function useIsLong(isSo: boolean): boolean {
  const [isLong, setLong] = useState(false);
  useEffect(() => {
    if (!isSo) return undefined;
    const timer = setTimeout(() => setLong(true), PATIENCE_MS);
    return () => {
      clearTimeout(timer);
      setLong(false);
    };
  }, [isSo]);
  return isLong;
}

/** Tells that the connection is gone, and when the next try is; a first connect is told when it takes long. */
export function ConnectionBanner() {
  const { state, retryAt, reason, hasBeenOnline } = useUi((ui) => ui.link);
  const seconds = useCountdown(state === "waiting" ? retryAt : null);
  const isLong = useIsLong(!hasBeenOnline && state !== "off");
  if (state === "online" || state === "off") return null;
  if (state === "connecting" && !hasBeenOnline && !isLong) return null;
  return (
    <div role="status" className="flex flex-wrap items-center justify-center gap-x-3 gap-y-1 bg-warn-soft px-4 py-1.5 text-sm text-warn-ink">
      {state === "stopped" ? <span>{reason}</span> : null}
      {state === "connecting" ? <span>Connecting…</span> : null}
      {state === "waiting" ? (
        <>
          {/* The seconds are for eyes: read aloud each second they would drown the rest. */}
          <span>
            You are offline.<span aria-hidden>{` Trying again in ${seconds} s.`}</span>
          </span>
          <span>What you write is sent then.</span>
        </>
      ) : null}
      {state === "waiting" || state === "stopped" ? (
        <Button look="outline" size="sm" className="h-7" onClick={tryNow}>
          Try now
        </Button>
      ) : null}
    </div>
  );
}
