import { Switch as Base } from "@base-ui/react/switch";
import { useId } from "react";

/** Something that is on or off, with its name. */
export function Switch({ label, isOn, onChange }: { label: string; isOn: boolean; onChange: (isOn: boolean) => void }) {
  const id = useId();
  return (
    <div className="flex items-center justify-between gap-3 text-sm">
      <span id={id}>{label}</span>
      <Base.Root
        checked={isOn}
        onCheckedChange={onChange}
        aria-labelledby={id}
        className="flex h-6 w-11 rounded-full border bg-line p-0.5 transition-colors data-checked:bg-accent"
      >
        <Base.Thumb className="size-4.5 rounded-full bg-raised shadow transition-transform data-checked:translate-x-5" />
      </Base.Root>
    </div>
  );
}
