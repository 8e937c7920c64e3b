/** Changes of messages that are stored; what follows comes back as an event. */
import { sayFailure } from "@/components/ui/toast";
import { patchTimeline } from "@/stores/chat";
import { withStored } from "@/stores/timeline";
import { request } from "./socket";
import type { Message } from "./types";

function stored({ message }: { message: Message }): void {
  patchTimeline(message.sessionId, (timeline) => withStored(timeline, [message]));
}

export async function react(message: Message, emoji: string, on: boolean): Promise<void> {
  try {
    stored(await request("message:react", { messageId: message.id, emoji, on }));
  } catch (trouble) {
    sayFailure("Your reaction was not kept", trouble);
  }
}

/** Replace a text. Returns whether it was done; what kept it from that has been told. */
export async function editMessage(message: Message, content: string): Promise<boolean> {
  try {
    stored(await request("message:edit", { messageId: message.id, content, expectedVersion: message.version ?? 1 }));
    return true;
  } catch (trouble) {
    sayFailure("The change was not kept", trouble);
    return false;
  }
}

export async function deleteMessage(message: Message): Promise<void> {
  try {
    stored(await request("message:delete", { messageId: message.id }));
  } catch (trouble) {
    sayFailure("The message was not deleted", trouble);
  }
}

export async function pinMessage(message: Message, on: boolean): Promise<void> {
  try {
    stored(await request("message:pin", { messageId: message.id, on }));
  } catch (trouble) {
    sayFailure(on ? "The message was not pinned" : "The pin was not taken off", trouble);
  }
}
