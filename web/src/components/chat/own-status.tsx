"use client";

import { Check } from "lucide-react";
import { MenuItem } from "@/components/ui/menu";
import { sayFailure } from "@/components/ui/toast";
import { cn } from "@/lib/cn";
import { request } from "@/lib/socket";
import { ownStatusSet, usePresence } from "@/stores/presence";

const CHOICES = [
  ["ONLINE", "Online", "bg-online"],
  ["BUSY", "Busy", "bg-busy"],
  ["INVISIBLE", "Invisible", "bg-soft/60"],
] as const;

/** What the caller wants others to see. */
export function OwnStatusItems() {
  const own = usePresence((presence) => presence.own);
  const choose = async (status: (typeof CHOICES)[number][0]): Promise<void> => {
    try {
      await request("status:set", { status });
      ownStatusSet({ status, text: null, until: null });
    } catch (trouble) {
      sayFailure("Your status was not set", trouble);
    }
  };
  return CHOICES.map(([status, label, dot]) => (
    <MenuItem key={status} icon={<span aria-hidden className={cn("mx-[3px] size-2.5 rounded-full", dot)} />} onSelect={() => void choose(status)}>
      <span className="flex-1">{label}</span>
      {own.status === status ? (
        <>
          <Check size={15} aria-hidden />
          <span className="sr-only">(now)</span>
        </>
      ) : null}
    </MenuItem>
  ));
}
