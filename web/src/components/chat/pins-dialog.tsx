"use client";

import { useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { sayFailure } from "@/components/ui/toast";
import { call } from "@/lib/api";
import { explain } from "@/lib/errors";
import { showMessage } from "@/lib/rooms";
import { listTime } from "@/lib/time";
import type { Message, PinListAnswer } from "@/lib/types";
import { useChat } from "@/stores/chat";
import { openDialog } from "@/stores/ui";
import { revealed } from "./reveal";

/** What is pinned in the open conversation. */
export function PinsDialog() {
  const sessionId = useChat((chat) => chat.openId);
  const [pins, setPins] = useState<readonly Message[] | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    if (!sessionId) return;
    call<PinListAnswer>({ url: `/chat/sessions/${sessionId}/pins` }).then(
      ({ messages }) => setPins(messages),
      (trouble: unknown) => setFailure(explain(trouble)),
    );
  }, [sessionId]);
  const go = async (message: Message): Promise<void> => {
    openDialog(null);
    try {
      await showMessage(message.sessionId, message.id);
      revealed(message.id);
    } catch (trouble) {
      sayFailure("That message did not come", trouble);
    }
  };
  return (
    <Dialog isOpen onClose={() => openDialog(null)} title="Pinned messages" shape="sheet">
      {failure ? <p role="alert" className="text-sm text-danger">{failure}</p> : null}
      {pins?.length === 0 ? <p className="text-sm text-soft">Nothing is pinned here.</p> : null}
      <ul className="space-y-2">
        {pins?.map((message) => (
          <li key={message.id}>
            <Button look="outline" className="h-auto w-full flex-col items-start gap-1 py-2 text-left whitespace-normal" onClick={() => void go(message)}>
              <span className="text-xs text-soft">
                {message.sender.name}, {listTime(message.createdAt)}
              </span>
              <span className="line-clamp-3 text-sm font-normal break-words">{message.content || "A file"}</span>
            </Button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
