"use client";

import { SendHorizontal, SmilePlus } from "lucide-react";
import type { ClipboardEvent } from "react";
import { Button } from "@/components/ui/button";
import { typed } from "@/lib/typing";
import type { SessionSummary } from "@/lib/types";
import { addFiles } from "@/lib/uploads";
import { useAuth } from "@/stores/auth";
import { AttachButton } from "./attach-button";
import { ComposerContext } from "./composer-context";
import { MOST, useWriting, type Writing } from "./composer-writing";
import { EmojiPicker } from "./emoji-picker";
import { MentionList } from "./mention-list";
import { UploadList } from "./upload-list";

const COUNTED_FROM = MOST - 500; // characters: only who is near the end is told

/** Why nobody can write here now; null when one can. */
function obstacle(session: SessionSummary): string | null {
  if (session.archivedAt) return "This conversation is archived.";
  const isAdmin = session.role === "OWNER" || session.role === "ADMIN";
  if (session.role === "READ_ONLY" || (session.readOnly && !isAdmin)) return "Only admins can write here.";
  return null;
}

/** Where one writes: drafts are kept, files wait for the message, Up edits the last one. */
export function Composer({ session }: { session: SessionSummary }) {
  const closed = obstacle(session);
  if (closed) return <p className="border-t px-5 py-4 text-center text-sm text-soft">{closed}</p>;
  return <OpenComposer session={session} />;
}

function OpenComposer({ session }: { session: SessionSummary }) {
  const sessionId = session.id;
  const hasFiles = useAuth((auth) => auth.config?.features.files ?? false);
  const writing = useWriting(sessionId);
  const { replyTo, editing, text } = writing;
  return (
    <div className="shrink-0 px-3 pt-1 pb-[max(0.75rem,env(safe-area-inset-bottom))] md:px-5">
      <div className="relative rounded-2xl border bg-raised shadow-sm focus-within:border-accent">
        <MentionList mentions={writing.mentions} />
        <ComposerContext sessionId={sessionId} replyTo={replyTo} editing={editing} onStop={writing.stop} />
        <UploadList uploads={writing.uploads} />
        <div className="flex items-end gap-1 p-1.5">
          {hasFiles && !editing ? <AttachButton onChoose={(files) => addFiles(sessionId, files)} /> : null}
          <Box sessionId={sessionId} writing={writing} takesFiles={hasFiles} />
          <EmojiPicker
            onPick={writing.insert}
            trigger={
              <Button look="ghost" size="icon" aria-label="Emoji" className="hidden sm:inline-flex">
                <SmilePlus size={18} aria-hidden />
              </Button>
            }
          />
          <Button size="icon" aria-label={editing ? "Save" : "Send"} disabled={!writing.canSend} onClick={() => void writing.submit()}>
            <SendHorizontal size={17} aria-hidden />
          </Button>
        </div>
        {text.length > COUNTED_FROM ? (
          <p role="status" className={text.length > MOST ? "px-4 pb-2 text-xs text-danger" : "px-4 pb-2 text-xs text-soft"}>
            {MOST - text.length} characters left
          </p>
        ) : null}
      </div>
    </div>
  );
}

/** The files that are meant by a paste: a spreadsheet puts a picture of its cells beside their text. */
function pasted(clipboard: DataTransfer): File[] {
  const files = Array.from(clipboard.files);
  const text = clipboard.getData("text/plain").trim();
  const isNames = files.every((file) => text.includes(file.name)); // what macOS puts beside copied files
  return text && !isNames ? [] : files;
}

/** The box itself: it grows with its text, and takes files that are pasted. */
function Box({ sessionId, writing, takesFiles }: { sessionId: string; writing: Writing; takesFiles: boolean }) {
  const { mentions } = writing;
  const paste = (event: ClipboardEvent): void => {
    const files = pasted(event.clipboardData);
    if (!takesFiles || files.length === 0) return;
    event.preventDefault();
    addFiles(sessionId, files);
  };
  return (
    <textarea
      id="composer"
      ref={writing.box}
      rows={1}
      value={writing.text}
      aria-label="Message"
      aria-autocomplete="list"
      aria-controls={mentions.isOpen ? "mentions" : undefined}
      aria-activedescendant={mentions.activeId}
      placeholder="Write a message"
      onChange={(event) => {
        writing.setText(event.target.value);
        if (event.target.value) typed(sessionId);
      }}
      onKeyDown={writing.press}
      onPaste={paste}
      className="max-h-[200px] min-h-9 flex-1 resize-none bg-transparent px-2 py-1.5 text-base leading-6 outline-none placeholder:text-soft sm:text-[0.94rem]"
    />
  );
}
