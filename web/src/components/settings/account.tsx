"use client";

import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Switch } from "@/components/ui/switch";
import { say, sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import type { UserErase } from "@/lib/types";
import { endLogin } from "@/stores/auth";
import { Part } from "./part";
import { ProofForm } from "./proof-form";

/** One's data, and the end of the account. */
export function Account() {
  const [isEnding, setEnding] = useState(false);
  const download = async (): Promise<void> => {
    try {
      const archive = await call<Blob>({ url: "/users/me/export", responseType: "blob", timeout: 600_000 });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(archive);
      link.download = "chatd-export.zip";
      link.click();
      URL.revokeObjectURL(link.href);
      say("Your archive is here");
    } catch (trouble) {
      sayFailure("Your archive did not come", trouble);
    }
  };
  return (
    <Part title="Your data">
      <p className="text-sm text-soft">Everything that this server has of you, in one archive; once an hour.</p>
      <div className="flex flex-wrap gap-2">
        <Button look="soft" onClick={() => void download()}>
          Download my data
        </Button>
        <Button look="danger" onClick={() => setEnding(true)}>
          Delete my account
        </Button>
      </div>
      {isEnding ? <EndDialog onClose={() => setEnding(false)} /> : null}
    </Part>
  );
}

function EndDialog({ onClose }: { onClose: () => void }) {
  const [isDeleting, setDeleting] = useState(false);
  const end = async (password: string): Promise<void> => {
    const data: UserErase = { messages: isDeleting ? "DELETE" : "KEEP_ANONYMOUS", ...(password ? { password } : {}) };
    await call({ method: "DELETE", url: "/users/me", data });
    endLogin("Your account has ended.");
  };
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title="Delete your account?"
      description="You are logged out everywhere, and your name and address are gone. That cannot be undone."
    >
      <ProofForm action="Delete my account" isDanger takesNone onCancel={onClose} onProve={end}>
        <Switch label="Delete everything I have written as well" isOn={isDeleting} onChange={setDeleting} />
      </ProofForm>
    </Dialog>
  );
}
