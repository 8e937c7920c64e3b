"use client";

import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { say, sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { toApiError } from "@/lib/errors";
import { useAuth } from "@/stores/auth";
import { Part } from "./part";
import { explainProof } from "./proof-form";
import { SecondFactor } from "./second-factor";

/** Address, password and second factor. */
export function Security() {
  const account = useAuth((auth) => auth.account);
  const hasMail = useAuth((auth) => auth.config?.features.mail ?? false);
  const verify = async (): Promise<void> => {
    try {
      await call({ method: "POST", url: "/auth/email/verification" });
      say("A mail is on its way", "Its link confirms your address.");
    } catch (trouble) {
      sayFailure("No mail was sent", trouble);
    }
  };
  if (!account) return null;
  return (
    <Part title="Security">
      {hasMail && !account.emailVerified ? (
        <div className="flex flex-wrap items-center gap-3 rounded-lg bg-warn-soft px-3 py-2 text-sm text-warn-ink">
          <span className="flex-1">{account.email} is not confirmed.</span>
          <Button look="outline" size="sm" onClick={() => void verify()}>
            Send me a link
          </Button>
        </div>
      ) : null}
      <PasswordForm />
      <SecondFactor />
    </Part>
  );
}

function PasswordForm() {
  const [password, setPassword] = useState("");
  const [newPassword, setNewPassword] = useState("");
  const [failure, setFailure] = useState<{ old?: string; new?: string }>({});
  const submit = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    setFailure({});
    try {
      const data = password ? { password, newPassword } : { newPassword };
      await call({ method: "POST", url: "/auth/password", data });
      setPassword("");
      setNewPassword("");
      say("Your password is changed", "Your other devices are logged out.");
    } catch (trouble) {
      const error = toApiError(trouble);
      const field = error.fields["newPassword"];
      setFailure(field ? { new: field } : { old: explainProof(error) });
    }
  };
  return (
    <form noValidate onSubmit={(event) => void submit(event)} className="grid gap-3 sm:grid-cols-[1fr_1fr_auto] sm:items-start">
      <Field
        label="Password"
        type="password"
        autoComplete="current-password"
        value={password}
        error={failure.old}
        onChange={(event) => setPassword(event.target.value)}
      />
      <Field
        label="New password"
        type="password"
        autoComplete="new-password"
        value={newPassword}
        error={failure.new}
        onChange={(event) => setNewPassword(event.target.value)}
      />
      <Button type="submit" look="soft" className="sm:mt-6.5" disabled={newPassword.length < 8}>
        Change
      </Button>
    </form>
  );
}
