"use client";

import { useState, type FormEvent, type ReactNode } from "react";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { explain, toApiError } from "@/lib/errors";

interface ProofFormProps {
  /** What the button says. */
  action: string;
  isDanger?: boolean;
  /** Asked for as well. */
  children?: ReactNode;
  /** Whether what `children` ask for is given. */
  isReady?: boolean;
  onCancel?: () => void;
  /** Accounts without a password may do it too, soon after they have signed in. */
  takesNone?: boolean;
  /** Does it with the password, the empty text for none; what it throws stands in the form. */
  onProve: (password: string) => Promise<void>;
}

/** A sentence about a proof that was refused. */
export function explainProof(trouble: unknown): string {
  const { reason } = toApiError(trouble).details;
  if (reason === "wrong_password") return "That is not your password.";
  if (reason === "sign_in_again") return "Your account has no password: sign in again, then do this within five minutes.";
  return explain(trouble);
}

/** Asks once more who somebody is, before what cannot be taken back. */
export function ProofForm(props: ProofFormProps) {
  const { action, isDanger = false, children, isReady = true, onCancel, takesNone = false, onProve } = props;
  const [password, setPassword] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | undefined>();
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setFailure(undefined);
    try {
      await onProve(password);
    } catch (trouble) {
      setFailure(explainProof(trouble));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form noValidate className="space-y-4 pt-2" onSubmit={(event) => void submit(event)}>
      <Field
        label="Password"
        {...(takesNone ? { hint: "Leave it empty if your account has none." } : {})}
        type="password"
        autoComplete="current-password"
        value={password}
        error={failure}
        onChange={(event) => setPassword(event.target.value)}
      />
      {children}
      <div className="flex justify-end gap-2">
        {onCancel ? (
          <Button look="soft" onClick={onCancel}>
            Cancel
          </Button>
        ) : null}
        <Button type="submit" look={isDanger ? "danger" : "solid"} disabled={isBusy || !isReady || (!password && !takesNone)}>
          {action}
        </Button>
      </div>
    </form>
  );
}
