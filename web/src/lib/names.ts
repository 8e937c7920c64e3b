/** The names of people of whom only the id is told. */
import { useEffect, useState } from "react";
import { call } from "./api";
import type { UserAnswer } from "./types";

const SOMEBODY = "Somebody"; // whose account is gone, or whose name has not come

/** Ask for the names of people; those in `known` are not asked for. */
export function useNames(ids: readonly string[], known: Readonly<Record<string, string>>): (id: string) => string {
  const [told, setTold] = useState<Readonly<Record<string, string>>>({});
  const missing = [...new Set(ids)].filter((id) => !(id in known) && !(id in told)).join(" ");
  useEffect(() => {
    const controller = new AbortController();
    const ask = async (): Promise<void> => {
      const [id] = missing.split(" "); // one at a time: the next render asks for the next
      if (!id) return;
      const name = await call<UserAnswer>({ url: `/users/${id}`, signal: controller.signal }).then(
        ({ user }) => user.name,
        () => SOMEBODY,
      );
      if (!controller.signal.aborted) setTold((before) => ({ ...before, [id]: name }));
    };
    void ask();
    return () => controller.abort();
  }, [missing]);
  return (id) => known[id] ?? told[id] ?? SOMEBODY;
}
