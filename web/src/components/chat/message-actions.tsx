"use client";

import { Copy, MoreHorizontal, Pencil, Pin, PinOff, Reply, SmilePlus, Trash2 } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Confirm } from "@/components/ui/confirm";
import { sayNotCopied } from "@/components/ui/copy-button";
import { Menu, MenuItem, MenuLine } from "@/components/ui/menu";
import { say } from "@/components/ui/toast";
import { copied } from "@/lib/clipboard";
import { deleteMessage, pinMessage, react } from "@/lib/changes";
import type { Message, SessionSummary } from "@/lib/types";
import { useAuth } from "@/stores/auth";
import { useChat } from "@/stores/chat";
import { EmojiPicker } from "./emoji-picker";

/** What can be done with a message: shown on hover, on focus, and always on a touch screen. */
export function MessageActions({ session, message }: { session: SessionSummary; message: Message }) {
  const isOwn = useAuth((auth) => auth.account?.id === message.sender.id);
  const isAdmin = session.role === "OWNER" || session.role === "ADMIN";
  const [isAsking, setAsking] = useState(false);
  const compose = (part: { replyTo?: Message; editing?: Message }): void => {
    useChat.setState({ replyTo: null, editing: null, ...part });
    requestAnimationFrame(() => document.querySelector<HTMLTextAreaElement>("#composer")?.focus());
  };
  const copy = async (): Promise<void> => {
    if (await copied(message.content)) say("Copied");
    else sayNotCopied();
  };
  return (
    <div className="absolute -top-3 right-4 flex rounded-lg border bg-raised opacity-0 shadow-sm group-focus-within/row:opacity-100 group-hover/row:opacity-100 has-data-popup-open:opacity-100 pointer-coarse:static pointer-coarse:border-0 pointer-coarse:bg-transparent pointer-coarse:opacity-100 pointer-coarse:shadow-none">
      <EmojiPicker
        onPick={(emoji) => void react(message, emoji, true)}
        trigger={
          <Button look="ghost" size="tiny" aria-label="React" className="pointer-coarse:hidden">
            <SmilePlus size={16} aria-hidden />
          </Button>
        }
      />
      <Button look="ghost" size="tiny" aria-label="Reply" className="pointer-coarse:hidden" onClick={() => compose({ replyTo: message })}>
        <Reply size={16} aria-hidden />
      </Button>
      <Menu
        trigger={
          <Button look="ghost" size="tiny" aria-label="More about this message">
            <MoreHorizontal size={16} aria-hidden />
          </Button>
        }
      >
        <MenuItem icon={<Reply size={16} aria-hidden />} onSelect={() => compose({ replyTo: message })}>
          Reply
        </MenuItem>
        <MenuItem icon={<SmilePlus size={16} aria-hidden />} onSelect={() => void react(message, "👍", true)}>
          React with 👍
        </MenuItem>
        <MenuItem icon={<Copy size={16} aria-hidden />} onSelect={() => void copy()}>
          Copy text
        </MenuItem>
        <MenuItem
          icon={message.pinnedAt ? <PinOff size={16} aria-hidden /> : <Pin size={16} aria-hidden />}
          onSelect={() => void pinMessage(message, !message.pinnedAt)}
        >
          {message.pinnedAt ? "Take the pin off" : "Pin"}
        </MenuItem>
        {isOwn ? (
          <MenuItem icon={<Pencil size={16} aria-hidden />} onSelect={() => compose({ editing: message })}>
            Edit
          </MenuItem>
        ) : null}
        {isOwn || isAdmin ? (
          <>
            <MenuLine />
            <MenuItem isDanger icon={<Trash2 size={16} aria-hidden />} onSelect={() => setAsking(true)}>
              Delete
            </MenuItem>
          </>
        ) : null}
      </Menu>
      <Confirm
        isOpen={isAsking}
        onClose={() => setAsking(false)}
        title="Delete this message?"
        text="Its text and files are gone for everybody. That cannot be undone."
        action="Delete"
        onConfirm={() => void deleteMessage(message)}
      />
    </div>
  );
}
