import { Button } from "@/components/ui/button";

/** Stands at the top of a list when a page of it did not come. */
export function NotCome({ failure, onAgain }: { failure: string | null; onAgain: () => void }) {
  if (!failure) return null;
  return (
    <div role="alert" className="flex items-center justify-center gap-3 px-5 pb-3 text-sm text-danger">
      <span>More messages did not come. {failure}</span>
      <Button look="outline" size="sm" onClick={onAgain}>
        Try again
      </Button>
    </div>
  );
}
