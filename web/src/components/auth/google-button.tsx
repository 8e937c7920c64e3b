"use client";

import { buttonClass } from "@/components/ui/button";
import { cn } from "@/lib/cn";
import { nextPage } from "@/lib/next";
import { useAuth } from "@/stores/auth";

/** The way to the sign-in elsewhere, where this server has one. */
export function GoogleButton() {
  const config = useAuth((auth) => auth.config);
  if (!config?.features.google) return null;
  const go = (): void => {
    const next = encodeURIComponent(nextPage(window.location.search));
    window.location.assign(`${config.apiBase}/auth/google?next=${next}`);
  };
  return (
    <div className="space-y-4">
      <div className="flex items-center gap-3 text-xs text-soft">
        <span className="h-px flex-1 bg-line" />
        or
        <span className="h-px flex-1 bg-line" />
      </div>
      <button type="button" onClick={go} className={cn(buttonClass({ look: "outline" }), "w-full")}>
        Continue with Google
      </button>
    </div>
  );
}
