import { Button } from "@/components/ui/button";
import { Logo } from "@/components/logo";

/** Stands where a page was that failed. */
export function BrokenPage() {
  return (
    <main className="grid h-dvh place-items-center p-6 text-center">
      <div className="space-y-4">
        <Logo />
        <h1 className="text-2xl font-semibold">Something went wrong here</h1>
        <Button onClick={() => window.location.reload()}>Reload</Button>
      </div>
    </main>
  );
}
