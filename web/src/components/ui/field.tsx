import { useId, type ComponentProps } from "react";
import { Input } from "./input";

interface FieldProps extends ComponentProps<"input"> {
  label: string;
  error?: string | undefined;
  hint?: string;
}

/** An input with its label, hint and error, tied together for screen readers. */
export function Field({ label, error, hint, ...props }: FieldProps) {
  const id = useId();
  const said = error ?? hint;
  return (
    <div className="space-y-1.5">
      <label htmlFor={id} className="block text-sm font-medium">
        {label}
      </label>
      <Input id={id} aria-invalid={error ? true : undefined} aria-describedby={said ? `${id}-said` : undefined} {...props} />
      {said ? (
        <p id={`${id}-said`} className={error ? "text-sm text-danger" : "text-sm text-soft"}>
          {said}
        </p>
      ) : null}
    </div>
  );
}
