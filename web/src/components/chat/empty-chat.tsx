import { MessagesSquare } from "lucide-react";
import { Button } from "@/components/ui/button";
import { openDialog } from "@/stores/ui";

/** What stands where no conversation is open. */
export function EmptyChat({ isMissing }: { isMissing: boolean }) {
  return (
    <div className="grid flex-1 place-items-center p-8 text-center">
      <div className="max-w-sm space-y-4">
        <MessagesSquare size={44} strokeWidth={1.4} aria-hidden className="mx-auto text-accent" />
        <h1 className="text-xl font-semibold">
          {isMissing ? "You are not in this conversation" : "Choose a conversation"}
        </h1>
        <p className="text-sm text-soft">
          {isMissing ? "It was deleted, or you have left it." : "Or begin one: with one person, a group, or everybody here."}
        </p>
        <Button onClick={() => openDialog("new")}>New conversation</Button>
      </div>
    </div>
  );
}
