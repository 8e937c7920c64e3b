"use client";

import Link from "next/link";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { Form } from "@/components/ui/form";
import { callAnonymously } from "@/lib/api";
import { explain } from "@/lib/errors";
import { Card } from "./card";

/** Asks for the mail that sets a new password; whether the address is known is not told. */
export function ForgotPage() {
  const [email, setEmail] = useState("");
  const [isSent, setSent] = useState(false);
  const [failure, setFailure] = useState<string | undefined>();
  const submit = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    try {
      await callAnonymously({ method: "POST", url: "/auth/password/forgot", data: { email: email.trim() } });
      setSent(true);
    } catch (trouble) {
      setFailure(explain(trouble));
    }
  };
  return (
    <Card title="Forgot your password?">
      {isSent ? (
        <p role="status" className="text-sm text-soft">
          If that address has an account, a mail is on its way. Its link is good for 15 minutes.
        </p>
      ) : (
        <Form onSubmit={(event) => void submit(event)}>
          <Field
            label="E-mail"
            type="email"
            autoComplete="username"
            autoFocus
            value={email}
            error={failure}
            onChange={(event) => setEmail(event.target.value)}
          />
          <Button type="submit" className="w-full" disabled={!email.trim()}>
            Send me a link
          </Button>
        </Form>
      )}
      <p className="text-center text-sm">
        <Link href="/login/" className="font-medium text-accent underline-offset-4 hover:underline">
          Back to the login
        </Link>
      </p>
    </Card>
  );
}
