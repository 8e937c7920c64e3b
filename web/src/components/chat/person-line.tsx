"use client";

import type { ReactNode } from "react";
import { Avatar } from "@/components/ui/avatar";
import { statusOf } from "@/lib/status";
import type { User } from "@/lib/types";
import { usePresence } from "@/stores/presence";

/** A person with picture and state. */
export function PersonLine({ user, children }: { user: User; children?: ReactNode }) {
  const presence = usePresence((all) => all.people[user.id]);
  return (
    <span className="flex min-w-0 items-center gap-3 text-sm">
      <Avatar name={user.name} url={user.avatarUrl} color={user.avatarColor} size="sm" status={statusOf(presence)} />
      <span className="min-w-0 flex-1">
        <span className="block truncate font-medium">{user.name}</span>
        {presence?.text ? <span className="block truncate text-xs text-soft">{presence.text}</span> : null}
      </span>
      {children}
    </span>
  );
}
