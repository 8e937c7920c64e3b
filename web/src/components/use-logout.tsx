"use client";

import { type ReactNode, useState } from "react";
import { Confirm } from "@/components/ui/confirm";
import { sayFailure } from "@/components/ui/toast";
import { logout, useAuth } from "@/stores/auth";
import { unsentOf } from "@/stores/unsent";

/** Logs out, after a question when messages wait that would be lost. Show `question`, call `leave`. */
export function useLogout(everywhere = false): { leave: () => void; question: ReactNode } {
  const account = useAuth((auth) => auth.account);
  const [waiting, setWaiting] = useState(0);
  const go = (): void => {
    logout(everywhere).catch((trouble: unknown) => sayFailure("You are still logged in", trouble));
  };
  const leave = (): void => {
    const count = account ? unsentOf(account.id).length : 0;
    if (count) setWaiting(count);
    else go();
  };
  const question = (
    <Confirm
      isOpen={waiting > 0}
      onClose={() => setWaiting(0)}
      onConfirm={go}
      title="Log out and lose what is not sent?"
      text={waiting === 1 ? "A message has not been sent yet." : `${waiting} messages have not been sent yet.`}
      action="Log out"
    />
  );
  return { leave, question };
}
