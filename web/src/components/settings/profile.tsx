"use client";

import { useEffect, useRef, useState } from "react";
import { Avatar } from "@/components/ui/avatar";
import { Button } from "@/components/ui/button";
import { Field } from "@/components/ui/field";
import { say, sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { cn } from "@/lib/cn";
import type { Me, UserUpdate } from "@/lib/types";
import { uploadAvatar } from "@/lib/uploads";
import { setAccount, useAuth } from "@/stores/auth";
import { Part } from "./part";

const COLORS: readonly [string, string][] = [
  ["#0f766e", "teal"],
  ["#1d4ed8", "blue"],
  ["#6d28d9", "violet"],
  ["#be185d", "pink"],
  ["#b91c1c", "red"],
  ["#b45309", "amber"],
  ["#15803d", "green"],
  ["#334155", "slate"],
];

/** Name and colour, as others see them. */
export function Profile() {
  const account = useAuth((auth) => auth.account);
  const [name, setName] = useState(account?.name ?? "");
  if (!account) return null;
  const update = async (change: UserUpdate): Promise<void> => {
    try {
      setAccount((await call<Me>({ method: "PATCH", url: "/users/me", data: change })).user);
      say("Saved");
    } catch (trouble) {
      sayFailure("It was not saved", trouble);
    }
  };
  return (
    <Part title="Profile">
      <div className="flex items-center gap-4">
        <Avatar name={account.name} url={account.avatarUrl} color={account.avatarColor} size="lg" />
        <div role="radiogroup" aria-label="Colour" className="flex flex-wrap gap-2">
          {COLORS.map(([color, label]) => (
            <button
              key={color}
              type="button"
              role="radio"
              aria-label={label}
              aria-checked={account.avatarColor === color}
              onClick={() => void update({ avatarColor: color })}
              className={cn("size-8 rounded-full border-2 border-raised", account.avatarColor === color && "ring-2 ring-ring")}
            >
              <svg viewBox="0 0 10 10" aria-hidden className="size-full rounded-full">
                <rect width="10" height="10" fill={color} />
              </svg>
            </button>
          ))}
        </div>
      </div>
      <AvatarPicture hasPicture={account.avatarUrl !== null} onUpdate={update} />
      <form
        className="flex items-end gap-2"
        onSubmit={(event) => {
          event.preventDefault();
          void update({ name: name.trim() });
        }}
      >
        <div className="flex-1">
          <Field label="Name" value={name} maxLength={80} autoComplete="name" onChange={(event) => setName(event.target.value)} />
        </div>
        <Button type="submit" disabled={!name.trim() || name.trim() === account.name}>
          Save
        </Button>
      </form>
      <p className="text-sm text-soft">{account.email}</p>
    </Part>
  );
}

interface Sending {
  /** From 0 to 1. */
  progress: number;
  cancel: () => void;
}

function AvatarPicture({ hasPicture, onUpdate }: { hasPicture: boolean; onUpdate: (change: UserUpdate) => Promise<void> }) {
  const hasFiles = useAuth((auth) => auth.config?.features.files ?? false);
  const [sending, setSending] = useState<Sending | null>(null);
  const running = useRef<AbortController>(null);
  useEffect(() => () => running.current?.abort(), []);
  const choose = async (file: File): Promise<void> => {
    const controller = new AbortController();
    running.current = controller;
    const tell = (progress: number): void => setSending({ progress, cancel: () => controller.abort() });
    tell(0);
    try {
      const avatarFileId = await uploadAvatar(file, controller.signal, tell);
      if (!controller.signal.aborted) await onUpdate({ avatarFileId });
    } catch (trouble) {
      if (!controller.signal.aborted) sayFailure("The picture was not taken", trouble);
    } finally {
      setSending(null);
    }
  };
  if (sending) {
    return (
      <div className="flex items-center gap-2">
        <progress aria-label="Uploading your picture" max={1} value={sending.progress} className="h-1.5 w-40 accent-accent" />
        <Button look="ghost" size="sm" onClick={sending.cancel}>
          Cancel
        </Button>
      </div>
    );
  }
  return (
    <div className="flex gap-2">
      {hasFiles ? <PicturePicker onChoose={(file) => void choose(file)} /> : null}
      {hasPicture ? (
        <Button look="ghost" size="sm" onClick={() => void onUpdate({ avatarUrl: null })}>
          No picture
        </Button>
      ) : null}
    </div>
  );
}

function PicturePicker({ onChoose }: { onChoose: (file: File) => void }) {
  const picker = useRef<HTMLInputElement>(null);
  return (
    <>
      <Button look="soft" size="sm" onClick={() => picker.current?.click()}>
        Choose a picture
      </Button>
      <input
        ref={picker}
        type="file"
        accept="image/png,image/jpeg,image/webp,image/gif"
        hidden
        aria-label="Picture"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) onChoose(file);
          event.target.value = "";
        }}
      />
    </>
  );
}
