import { useEffect, useState } from "react";
import { call } from "./api";
import { explain } from "./errors";
import type { User, UserPage } from "./types";

const AFTER_MS = 200; // of no typing, then the server is asked

/** The people who fit a part of a name, or a whole e-mail address. */
export function useUserSearch(query: string): { users: readonly User[]; failure: string | null } {
  const [found, setFound] = useState<{ users: readonly User[]; failure: string | null }>({ users: [], failure: null });
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(() => {
      const params = { limit: 20, ...(query.trim() ? { query: query.trim() } : {}) };
      call<UserPage>({ url: "/users", params, signal: controller.signal }).then(
        ({ users }) => setFound({ users, failure: null }),
        (trouble: unknown) => {
          if (!controller.signal.aborted) setFound({ users: [], failure: explain(trouble) });
        },
      );
    }, AFTER_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [query]);
  return found;
}
