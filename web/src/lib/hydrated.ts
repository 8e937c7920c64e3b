import { useSyncExternalStore } from "react";

const never = (): (() => void) => () => undefined;

/** Whether React has taken over what the page's HTML brought: false there, true from then on. */
export function useHydrated(): boolean {
  return useSyncExternalStore(
    never,
    () => true,
    () => false,
  );
}
