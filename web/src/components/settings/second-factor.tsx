"use client";

import { useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field } from "@/components/ui/field";
import { say, sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { explain } from "@/lib/errors";
import type { RecoveryCodes, TotpBegun, TotpState } from "@/lib/types";

/** Codes of an authenticator at each login: on, off, and what helps when it is lost. */
export function SecondFactor() {
  const [state, setState] = useState<TotpState | null>(null);
  const [dialog, setDialog] = useState<"on" | "off" | null>(null);
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
      <Button look={state.enabled ? "danger" : "soft"} size="sm" onClick={() => setDialog(state.enabled ? "off" : "on")}>
        {state.enabled ? "Turn off" : "Turn on"}
      </Button>
      {dialog === "on" ? <TurnOn onClose={close} /> : null}
      {dialog === "off" ? <TurnOff onClose={close} /> : null}
    </div>
  );
}

function TurnOn({ onClose }: { onClose: () => void }) {
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [begun, setBegun] = useState<TotpBegun | null>(null);
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  const [failure, setFailure] = useState<string | undefined>();
  const step = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    setFailure(undefined);
    try {
      if (begun) {
        const request = { method: "POST", url: "/auth/totp/confirm", data: { code: code.replace(/\s/g, "") } };
        setCodes((await call<RecoveryCodes>(request)).recoveryCodes);
      } else setBegun(await call<TotpBegun>({ method: "POST", url: "/auth/totp", data: { password } }));
    } catch (trouble) {
      setFailure(explain(trouble));
    }
  };
  if (codes) {
    return (
      <Dialog isOpen onClose={onClose} title="Your recovery codes" description="Each is good once, when you have no authenticator. They are not shown again.">
        <ul aria-label="Recovery codes" className="grid grid-cols-2 gap-1 rounded-lg bg-panel p-3 font-mono text-sm">
          {codes.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
        <Button className="mt-4 w-full" onClick={onClose}>
          I have kept them
        </Button>
      </Dialog>
    );
  }
  return (
    <Dialog isOpen onClose={onClose} title="Turn on the second factor">
      <form className="space-y-4" onSubmit={(event) => void step(event)}>
        {begun ? (
          <>
            <p className="text-sm text-soft">Enter this secret in your authenticator, or open the link on the device that has it.</p>
            <p className="rounded-lg bg-panel p-3 font-mono text-sm break-all select-all">{begun.secret}</p>
            <a href={begun.uri} className="text-sm font-medium text-accent underline">
              Open in an authenticator
            </a>
            <Field label="Code" inputMode="numeric" autoComplete="one-time-code" value={code} error={failure} onChange={(event) => setCode(event.target.value)} />
          </>
        ) : (
          <Field
            label="Password"
            type="password"
            autoComplete="current-password"
            value={password}
            error={failure}
            onChange={(event) => setPassword(event.target.value)}
          />
        )}
        <Button type="submit" className="w-full" disabled={begun ? !code : !password}>
          Go on
        </Button>
      </form>
    </Dialog>
  );
}

function TurnOff({ onClose }: { onClose: () => void }) {
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [failure, setFailure] = useState<string | undefined>();
  const submit = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    const typed = code.trim();
    const proof = /^[0-9 ]{6,7}$/.test(typed) ? { code: typed.replace(" ", "") } : { recoveryCode: typed };
    try {
      await call({ method: "DELETE", url: "/auth/totp", data: { password, ...proof } });
      say("The second factor is off");
      onClose();
    } catch (trouble) {
      setFailure(explain(trouble));
    }
  };
  return (
    <Dialog isOpen onClose={onClose} title="Turn off the second factor">
      <form className="space-y-4" onSubmit={(event) => void submit(event)}>
        <Field label="Password" type="password" autoComplete="current-password" value={password} onChange={(event) => setPassword(event.target.value)} />
        <Field label="Code, or a recovery code" value={code} error={failure} onChange={(event) => setCode(event.target.value)} />
        <Button type="submit" look="danger" className="w-full" disabled={!password || !code}>
          Turn off
        </Button>
      </form>
    </Dialog>
  );
}
