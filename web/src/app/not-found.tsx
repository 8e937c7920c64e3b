import Link from "next/link";
import { Logo } from "@/components/logo";
import { buttonClass } from "@/components/ui/button";

export default function NotFound() {
  return (
    <main className="grid h-dvh place-items-center p-6 text-center">
      <div className="space-y-4">
        <Logo />
        <h1 className="text-2xl font-semibold">There is no such page</h1>
        <Link href="/chat/" className={buttonClass()}>
          Go to the chat
        </Link>
      </div>
    </main>
  );
}
