"use client";

import { useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field } from "@/components/ui/field";
import { say, sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { explain, toApiError } from "@/lib/errors";
import { proofOf } from "@/lib/proof";
import type { RecoveryCodes, TotpBegun, TotpState } from "@/lib/types";
import { ProofForm } from "./proof-form";
import { FreshCodes, NewCodes } from "./recovery-codes";

/** Codes of an authenticator at each login: on, off, and what helps when it is lost. */
export function SecondFactor() {
  const [state, setState] = useState<TotpState | null>(null);
  const [dialog, setDialog] = useState<"on" | "off" | "codes" | "lost" | null>(null);
  const load = (): void => {
    call<TotpState>({ url: "/auth/totp" }).then(setState, (trouble: unknown) =>
      sayFailure("The state of your second factor did not come", trouble),
    );
  };
  useEffect(load, []);
  const close = (): void => {
    setDialog(null);
    load();
  };
  if (!state) return null;
  return (
    <div className="flex items-center gap-3 text-sm">
      <span className="flex-1">
        Second factor: {state.enabled ? `on, ${state.recoveryCodesLeft} recovery codes left` : "off"}
      </span>
      {state.enabled ? (
        <Button look="soft" size="sm" onClick={() => setDialog("codes")}>
          New codes
        </Button>
      ) : null}
      <Button look={state.enabled ? "danger" : "soft"} size="sm" onClick={() => setDialog(state.enabled ? "off" : "on")}>
        {state.enabled ? "Turn off" : "Turn on"}
      </Button>
      {dialog === "on" ? <TurnOn onClose={close} onLost={() => setDialog("lost")} /> : null}
      {dialog === "off" ? <TurnOff onClose={close} /> : null}
      {dialog === "codes" || dialog === "lost" ? <NewCodes areLost={dialog === "lost"} onClose={close} /> : null}
    </div>
  );
}

/** `onLost`: it is on, and the answer with its recovery codes did not arrive. */
function TurnOn({ onClose, onLost }: { onClose: () => void; onLost: () => void }) {
  const [begun, setBegun] = useState<TotpBegun | null>(null);
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  if (codes) return <FreshCodes codes={codes} onKept={onClose} />;
  const begin = async (password: string): Promise<void> =>
    setBegun(await call<TotpBegun>({ method: "POST", url: "/auth/totp", data: { password } }));
  return (
    <Dialog isOpen onClose={onClose} title="Turn on the second factor">
      {begun ? <Confirmation begun={begun} onCodes={setCodes} onLost={onLost} /> : <ProofForm action="Go on" onProve={begin} />}
    </Dialog>
  );
}

/** Whether a code was refused because an earlier one, whose answer was lost, has turned it on. */
async function isOnAlready(trouble: unknown): Promise<boolean> {
  if (toApiError(trouble).code !== "conflict") return false;
  return (await call<TotpState>({ url: "/auth/totp" })).enabled;
}

interface ConfirmationProps {
  begun: TotpBegun;
  onCodes: (codes: readonly string[]) => void;
  onLost: () => void;
}

function Confirmation({ begun, onCodes, onLost }: ConfirmationProps) {
  const [code, setCode] = useState("");
  const [failure, setFailure] = useState<string | undefined>();
  const confirm = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    setFailure(undefined);
    try {
      const request = { method: "POST", url: "/auth/totp/confirm", data: { code: code.replace(/\s/g, "") } };
      onCodes((await call<RecoveryCodes>(request)).recoveryCodes);
    } catch (trouble) {
      if (await isOnAlready(trouble).catch(() => false)) onLost();
      else setFailure(explain(trouble));
    }
  };
  return (
    <form className="space-y-4" onSubmit={(event) => void confirm(event)}>
      <p className="text-sm text-soft">Enter this secret in your authenticator, or open the link on the device that has it.</p>
      <p className="rounded-lg bg-panel p-3 font-mono text-sm break-all select-all">{begun.secret}</p>
      <a href={begun.uri} className="text-sm font-medium text-accent underline">
        Open in an authenticator
      </a>
      <Field label="Code" inputMode="numeric" autoComplete="one-time-code" value={code} error={failure} onChange={(event) => setCode(event.target.value)} />
      <Button type="submit" className="w-full" disabled={!code}>
        Go on
      </Button>
    </form>
  );
}

function TurnOff({ onClose }: { onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const turnOff = async (password: string): Promise<void> => {
    await call({ method: "DELETE", url: "/auth/totp", data: { password, ...proofOf(typed) } });
    say("The second factor is off");
    onClose();
  };
  return (
    <Dialog isOpen onClose={onClose} title="Turn off the second factor">
      <ProofForm action="Turn off" isDanger isReady={typed.trim() !== ""} onProve={turnOff}>
        <Field label="Code, or a recovery code" value={typed} onChange={(event) => setTyped(event.target.value)} />
      </ProofForm>
    </Dialog>
  );
}
