import { cva, type VariantProps } from "class-variance-authority";
import type { ComponentProps } from "react";
import { cn } from "@/lib/cn";

export const buttonClass = cva(
  "inline-flex shrink-0 items-center justify-center gap-2 rounded-lg font-medium whitespace-nowrap transition-colors select-none disabled:opacity-55 [&_svg]:shrink-0",
  {
    variants: {
      look: {
        solid: "bg-accent text-accent-ink hover:bg-accent/90",
        soft: "bg-panel text-ink hover:bg-line/70",
        outline: "border bg-raised text-ink hover:bg-panel",
        ghost: "text-soft hover:bg-line/60 hover:text-ink",
        danger: "bg-danger-soft text-danger hover:bg-danger-soft/70",
      },
      size: {
        md: "h-10 px-4 text-sm",
        sm: "h-8 px-3 text-sm",
        icon: "size-9",
        tiny: "size-8 rounded-md",
      },
    },
    defaultVariants: { look: "solid", size: "md" },
  },
);

export type ButtonProps = ComponentProps<"button"> & VariantProps<typeof buttonClass>;

export function Button({ className, look, size, type = "button", ...props }: ButtonProps) {
  return <button type={type} className={cn(buttonClass({ look, size }), className)} {...props} />;
}
