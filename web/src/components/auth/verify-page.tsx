"use client";

import Link from "next/link";
import { useEffect, useRef, useState } from "react";
import { Button, buttonClass } from "@/components/ui/button";
import { callAnonymously } from "@/lib/api";
import { explain, toApiError } from "@/lib/errors";
import { takeToken } from "@/lib/token-in-hash";
import type { EmailVerified } from "@/lib/types";
import { startAuth, useAuth } from "@/stores/auth";
import { Card } from "./card";

/** Where the mailed link leads: a click, not the visit, verifies, so that no scanner of mails does. */
export function VerifyPage() {
  const isReady = useAuth((auth) => auth.config !== null);
  const token = useRef("");
  const [said, setSaid] = useState<string | null>(null);
  useEffect(() => {
    token.current ||= takeToken();
  }, []);
  const verify = async (): Promise<void> => {
    try {
      const request = { method: "POST", url: "/auth/email/verify", data: { token: token.current } };
      const { email } = await callAnonymously<EmailVerified>(request);
      setSaid(`${email} is verified.`);
      await startAuth();
    } catch (trouble) {
      const isOver = toApiError(trouble).code === "unauthorized";
      setSaid(isOver ? "This link does not work any more. Ask for another one in your settings." : explain(trouble));
    }
  };
  return (
    <Card title="Your e-mail address">
      {said ? (
        <>
          <p role="status" className="text-sm text-soft">
            {said}
          </p>
          <Link href="/chat/" className={buttonClass()}>
            Go to the chat
          </Link>
        </>
      ) : (
        <>
          <p className="text-sm text-soft">Confirm that you read mail at this address.</p>
          <Button className="w-full" disabled={!isReady} onClick={() => void verify()}>
            Confirm
          </Button>
        </>
      )}
    </Card>
  );
}
