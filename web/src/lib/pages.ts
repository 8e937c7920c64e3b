/** Lists that come page by page, at a button. */
import { useCallback, useEffect, useRef, useState } from "react";
import { explain } from "./errors";

export interface Page<T> {
  items: readonly T[];
  /** What the next page is asked for with; null on the last. */
  next: string | null;
}

export interface Paged<T> {
  items: readonly T[];
  hasMore: boolean;
  isLoading: boolean;
  /** Why the last page that was asked for did not come. */
  failure: string | null;
  more: () => void;
  /** Change what has come, as when one of it is gone. */
  edit: (change: (items: readonly T[]) => readonly T[]) => void;
}

type State<T> = Omit<Paged<T>, "more" | "edit">;

/**
 * Read the first page, and the one after at each `more`.
 *
 * `load` is one function as long as the list is the same one (`useCallback`): another begins anew,
 * and what is shown stays until its first page is here.
 */
export function usePages<T>(load: (after: string | null, signal: AbortSignal) => Promise<Page<T>>): Paged<T> {
  const [state, setState] = useState<State<T>>({ items: [], hasMore: false, isLoading: true, failure: null });
  const place = useRef<{ after: string | null; asking: AbortController | null }>({ after: null, asking: null });

  const more = useCallback((): void => {
    const at = place.current;
    if (at.asking) return;
    const asking = new AbortController();
    at.asking = asking;
    setState((shown) => ({ ...shown, isLoading: true, failure: null }));
    load(at.after, asking.signal).then(
      ({ items, next }) => {
        if (asking.signal.aborted) return;
        const isFirst = at.after === null;
        Object.assign(at, { after: next, asking: null });
        setState((shown) => ({
          items: isFirst ? items : [...shown.items, ...items],
          hasMore: next !== null,
          isLoading: false,
          failure: null,
        }));
      },
      (trouble: unknown) => {
        if (asking.signal.aborted) return;
        at.asking = null;
        setState((shown) => ({ ...shown, hasMore: true, isLoading: false, failure: explain(trouble) }));
      },
    );
  }, [load]);
  useEffect(() => {
    const at = place.current;
    at.after = null;
    more();
    return () => {
      at.asking?.abort();
      at.asking = null;
    };
  }, [more]);
  const edit = useCallback((change: (items: readonly T[]) => readonly T[]): void => {
    setState((shown) => ({ ...shown, items: change(shown.items) }));
  }, []);
  return { ...state, more, edit };
}
