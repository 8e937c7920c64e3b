"use client";

import { useEffect, useId, useState, type ReactNode } from "react";
import { cn } from "@/lib/cn";
import { isComposing } from "@/lib/keys";
import { Input } from "./input";

interface ChoiceListProps<T> {
  label: string;
  placeholder: string;
  query: string;
  onQuery: (query: string) => void;
  choices: readonly T[];
  keyOf: (choice: T) => string;
  render: (choice: T) => ReactNode;
  onChoose: (choice: T) => void;
  empty: string;
}

/** A box that filters and a list that the arrows walk through (the combobox pattern of WAI-ARIA). */
export function ChoiceList<T>(props: ChoiceListProps<T>) {
  const { label, placeholder, query, onQuery, choices, keyOf, render, onChoose, empty } = props;
  const id = useId();
  const [active, setActive] = useState(0);
  useEffect(() => setActive(0), [query]);
  const press = (event: React.KeyboardEvent): void => {
    const chosen = choices[active];
    if (event.key === "ArrowDown") setActive(Math.min(choices.length - 1, active + 1));
    else if (event.key === "ArrowUp") setActive(Math.max(0, active - 1));
    else if (event.key === "Enter" && chosen && !isComposing(event)) onChoose(chosen);
    else return;
    event.preventDefault();
  };
  useEffect(() => {
    document.getElementById(`${id}-${active}`)?.scrollIntoView({ block: "nearest" });
  }, [active, id]);
  return (
    <div className="space-y-2">
      <Input
        role="combobox"
        aria-expanded
        aria-controls={`${id}-list`}
        aria-activedescendant={choices.length > 0 ? `${id}-${active}` : undefined}
        aria-label={label}
        placeholder={placeholder}
        value={query}
        autoFocus
        onChange={(event) => onQuery(event.target.value)}
        onKeyDown={press}
      />
      {choices.length === 0 ? (
        <p role="status" className="px-2 py-3 text-sm text-soft">
          {empty}
        </p>
      ) : null}
      <ul id={`${id}-list`} role="listbox" aria-label={label}>
        {choices.map((choice, place) => (
          <li
            key={keyOf(choice)}
            id={`${id}-${place}`}
            role="option"
            aria-selected={place === active}
            onPointerMove={() => setActive(place)}
            onClick={() => onChoose(choice)}
            className={cn("cursor-pointer rounded-lg px-2 py-2", place === active && "bg-accent-soft")}
          >
            {render(choice)}
          </li>
        ))}
      </ul>
    </div>
  );
}
