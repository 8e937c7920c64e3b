import { Button } from "./button";

interface MoreButtonProps {
  hasMore: boolean;
  isLoading: boolean;
  failure: string | null;
  onMore: () => void;
  /** What there is more of, in the plural. */
  what: string;
}

/** Fetches the next page of a list; it says why one did not come. */
export function MoreButton({ hasMore, isLoading, failure, onMore, what }: MoreButtonProps) {
  return (
    <>
      {failure ? (
        <p role="alert" className="text-sm text-danger">
          {failure}
        </p>
      ) : null}
      {hasMore ? (
        <Button look="soft" size="sm" className="w-full" disabled={isLoading} onClick={onMore}>
          {failure ? "Try again" : `More ${what}`}
        </Button>
      ) : null}
    </>
  );
}
