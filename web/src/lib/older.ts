/** Lists that grow at their ends: on scrolling near one, and as long as they do not fill their place. */
import { useEffect, useRef, useState, type RefObject } from "react";
import { explain } from "./errors";

interface Edges {
  view: RefObject<HTMLDivElement | null>;
  /** Why a page did not come; nothing is asked for by itself then. */
  failure: string | null;
  /** Call when the view is scrolled. */
  look: () => void;
  again: () => void;
}

/**
 * Fetch pages for a scrolled list.
 *
 * `wanted` tells what is to be fetched for a view as it is scrolled, null for nothing. `rows` is what
 * changes when a page has come; nothing is fetched while the list `isLoading`. A list without a
 * scrollbar cannot be scrolled: there one page after the other comes until it has one.
 */
export function useEdges(
  rows: unknown,
  isLoading: boolean,
  wanted: (view: HTMLElement) => (() => Promise<void>) | null,
): Edges {
  const view = useRef<HTMLDivElement>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const now = useRef({ isBusy: false, isRefused: false, isLoading, wanted });
  Object.assign(now.current, { isLoading, wanted });

  const look = (): void => {
    if (!view.current || now.current.isBusy || now.current.isRefused || now.current.isLoading) return;
    const fetch = now.current.wanted(view.current);
    if (!fetch) return;
    now.current.isBusy = true;
    fetch()
      .catch((trouble: unknown) => {
        now.current.isRefused = true;
        setFailure(explain(trouble));
      })
      .finally(() => {
        now.current.isBusy = false;
        requestAnimationFrame(fill); // what has come is drawn by then
      });
  };
  const fill = (): void => {
    if (view.current && view.current.scrollHeight <= view.current.clientHeight) look();
  };
  const again = (): void => {
    now.current.isRefused = false;
    setFailure(null);
    look();
  };
  useEffect(fill, [rows, isLoading]);
  useEffect(() => {
    const watch = new ResizeObserver(() => fill());
    if (view.current) watch.observe(view.current);
    return () => watch.disconnect();
  }, []);
  return { view, failure, look, again };
}
