"use client";

import { cn } from "@/lib/cn";
import { setTheme, useUi, type Theme } from "@/stores/ui";
import { Part } from "./part";

const THEMES: readonly [Theme, string][] = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export function Appearance() {
  const theme = useUi((ui) => ui.theme);
  return (
    <Part title="Appearance">
      <div role="radiogroup" aria-label="Theme" className="grid grid-cols-3 gap-2">
        {THEMES.map(([each, label]) => (
          <button
            key={each}
            type="button"
            role="radio"
            aria-checked={theme === each}
            onClick={() => setTheme(each)}
            className={cn(
              "rounded-xl border px-3 py-2.5 text-sm font-medium",
              theme === each ? "border-accent bg-accent-soft text-accent" : "hover:bg-panel",
            )}
          >
            {label}
          </button>
        ))}
      </div>
    </Part>
  );
}
