"use client";

import { useRouter } from "next/navigation";
import { useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { Form } from "@/components/ui/form";
import { say } from "@/components/ui/toast";
import { callAnonymously } from "@/lib/api";
import { explain, toApiError } from "@/lib/errors";
import { takeToken } from "@/lib/token-in-hash";
import { Card } from "./card";

/** Where the mailed link leads: a new password ends all logins. */
export function ResetPage() {
  const router = useRouter();
  const [token, setToken] = useState("");
  const [password, setPassword] = useState("");
  const [failure, setFailure] = useState<string | undefined>();
  useEffect(() => setToken((known) => known || takeToken()), []);
  const submit = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    try {
      await callAnonymously({ method: "POST", url: "/auth/password/reset", data: { token, password } });
      say("Your password is set", "Log in with it.");
      router.replace("/login/");
    } catch (trouble) {
      const error = toApiError(trouble);
      const isOver = error.code === "unauthorized";
      setFailure(isOver ? "This link does not work any more. Ask for another one." : (error.fields["password"] ?? explain(error)));
    }
  };
  return (
    <Card title="A new password">
      <Form onSubmit={(event) => void submit(event)}>
        <Field
          label="New password"
          type="password"
          autoComplete="new-password"
          autoFocus
          hint="At least 8 characters. You are logged out everywhere."
          value={password}
          error={failure}
          onChange={(event) => setPassword(event.target.value)}
        />
        <Button type="submit" className="w-full" disabled={password.length < 8}>
          Set it
        </Button>
      </Form>
    </Card>
  );
}
