import type { Paged } from "@/lib/pages";
import { Button } from "./button";

/** Fetches the next page of a list, of `what` in the plural; it says why one did not come. */
export function MoreButton({ pages, what }: { pages: Omit<Paged<unknown>, "edit">; what: string }) {
  const { hasMore, isLoading, failure, more } = pages;
  return (
    <>
      {failure ? (
        <p role="alert" className="text-sm text-danger">
          {failure}
        </p>
      ) : null}
      {hasMore ? (
        <Button look="soft" size="sm" className="w-full" disabled={isLoading} onClick={more}>
          {failure ? "Try again" : `More ${what}`}
        </Button>
      ) : null}
    </>
  );
}
