"use client";

import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field } from "@/components/ui/field";
import { call } from "@/lib/api";
import { proofOf } from "@/lib/proof";
import type { RecoveryCodes } from "@/lib/types";
import { ProofForm } from "./proof-form";

/** Shows fresh codes until somebody says that they have them: one Escape would lose them. */
export function FreshCodes({ codes, onKept }: { codes: readonly string[]; onKept: () => void }) {
  return (
    <Dialog isOpen title="Your recovery codes" description="Each is good once, when you have no authenticator. They are not shown again.">
      <ul aria-label="Recovery codes" className="grid grid-cols-2 gap-1 rounded-lg bg-panel p-3 font-mono text-sm">
        {codes.map((each) => (
          <li key={each}>{each}</li>
        ))}
      </ul>
      <Button className="mt-4 w-full" onClick={onKept}>
        I have kept them
      </Button>
    </Dialog>
  );
}

/** Makes new codes. `areLost`: those that came with the second factor never arrived. */
export function NewCodes({ areLost, onClose }: { areLost: boolean; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  if (codes) return <FreshCodes codes={codes} onKept={onClose} />;
  const make = async (password: string): Promise<void> => {
    const request = { method: "POST", url: "/auth/totp/recovery-codes", data: { password, ...proofOf(typed) } };
    setCodes((await call<RecoveryCodes>(request)).recoveryCodes);
  };
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title="New recovery codes"
      description={
        areLost
          ? "The second factor is on, but its recovery codes were lost on the way. Make new ones."
          : "They take the place of all earlier ones."
      }
    >
      <ProofForm action="Make new codes" isReady={typed.trim() !== ""} onProve={make}>
        <Field label="Code, or a recovery code" value={typed} onChange={(event) => setTyped(event.target.value)} />
      </ProofForm>
    </Dialog>
  );
}
