"use client";

import { Paperclip, SendHorizontal, SmilePlus } from "lucide-react";
import { useEffect, useRef, useState, type ClipboardEvent, type KeyboardEvent } from "react";
import { Button } from "@/components/ui/button";
import { editMessage } from "@/lib/changes";
import { mentionsIn } from "@/lib/mentions";
import { sendMessage } from "@/lib/sending";
import { typed, typedNoMore } from "@/lib/typing";
import type { Message, SessionSummary } from "@/lib/types";
import { addFiles, takeUploads, useUploads } from "@/lib/uploads";
import { useAuth } from "@/stores/auth";
import { roomOf, useChat } from "@/stores/chat";
import { draftOf, keepDraft } from "@/stores/unsent";
import { ComposerContext } from "./composer-context";
import { EmojiPicker } from "./emoji-picker";
import { MentionList, useMentions } from "./mention-list";
import { UploadList } from "./upload-list";

const MOST = 16_384; // characters of a message
const HIGHEST = 200; // CSS pixels

function messageOf(sessionId: string, id: string | null): Message | null {
  return roomOf(sessionId).timeline.rows.find((row) => row.message.id === id)?.message ?? null;
}

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
  const userId = useAuth((auth) => auth.account?.id ?? "");
  const hasFiles = useAuth((auth) => auth.config?.features.files ?? false);
  const { replyTo, editing } = useChat();
  const [text, setText] = useState(() => draftOf(userId, sessionId));
  const box = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const edits = useRef<string | null>(null); // whose text the box shows; null for the draft
  const uploads = useUploads((all) => all.uploads).filter((each) => each.sessionId === sessionId);
  const mentions = useMentions(sessionId, text, box, setText);
  const isUploading = uploads.some((each) => !each.attachment && !each.failure);
  const hasComplete = uploads.some((each) => each.attachment);
  const content = text.trim();
  const canSend = !isUploading && (content.length > 0 || hasComplete) && text.length <= MOST;

  useEffect(() => {
    if (editing === null && edits.current === null) keepDraft(userId, sessionId, text);
  }, [text, editing, userId, sessionId]);
  useEffect(() => {
    const edited = editing ? messageOf(sessionId, editing) : null;
    setText(edited ? edited.content : draftOf(userId, sessionId));
    edits.current = edited ? editing : null;
    if (edited) box.current?.focus();
  }, [editing, sessionId, userId]);
  useEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, HIGHEST)}px`;
  }, [text]);
  useEffect(() => () => typedNoMore(sessionId), [sessionId]);

  const stop = (): void => {
    useChat.setState({ replyTo: null, editing: null });
  };
  const submit = async (): Promise<void> => {
    if (!canSend) return;
    const edited = editing ? messageOf(sessionId, editing) : null;
    if (edited) {
      if (content && (content === edited.content || (await editMessage(edited, content)))) stop();
      return;
    }
    const answered = messageOf(sessionId, replyTo);
    typedNoMore(sessionId, false);
    sendMessage({
      sessionId,
      content,
      replyTo: answered && { id: answered.id, seq: answered.seq, sender: answered.sender, excerpt: answered.content.slice(0, 200) },
      mentions: mentionsIn(content, roomOf(sessionId).members),
      attachments: takeUploads(sessionId),
    });
    setText("");
    keepDraft(userId, sessionId, "");
    stop();
    box.current?.focus();
  };
  const editLast = (): void => {
    const own = roomOf(sessionId).timeline.rows.findLast(
      ({ status, message }) => status === "sent" && message.sender.id === userId && !message.deletedAt,
    );
    if (own) useChat.setState({ editing: own.message.id, replyTo: null });
  };
  const press = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    // An IME uses Enter to choose: that is no end of a message.
    if (event.nativeEvent.isComposing || mentions.press(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      void submit();
    } else if (event.key === "ArrowUp" && text === "" && !editing) {
      event.preventDefault();
      editLast();
    } else if (event.key === "Escape" && (editing || replyTo)) {
      event.preventDefault();
      stop();
    }
  };
  const paste = (event: ClipboardEvent): void => {
    const files = Array.from(event.clipboardData.files);
    if (!hasFiles || files.length === 0) return;
    event.preventDefault();
    addFiles(sessionId, files);
  };
  const insert = (emoji: string): void => {
    const at = box.current?.selectionStart ?? text.length;
    setText(text.slice(0, at) + emoji + text.slice(at));
    box.current?.focus();
  };

  return (
    <div className="shrink-0 px-3 pt-1 pb-[max(0.75rem,env(safe-area-inset-bottom))] md:px-5">
      <div className="relative rounded-2xl border bg-raised shadow-sm focus-within:border-accent">
        <MentionList mentions={mentions} />
        <ComposerContext sessionId={sessionId} replyTo={replyTo} editing={editing} onStop={stop} />
        <UploadList uploads={uploads} />
        <div className="flex items-end gap-1 p-1.5">
          {hasFiles && !editing ? (
            <>
              <Button look="ghost" size="icon" aria-label="Attach files" onClick={() => picker.current?.click()}>
                <Paperclip size={18} aria-hidden />
              </Button>
              <input
                ref={picker}
                type="file"
                multiple
                hidden
                aria-label="Files to attach"
                onChange={(event) => {
                  addFiles(sessionId, Array.from(event.target.files ?? []));
                  event.target.value = "";
                }}
              />
            </>
          ) : null}
          <textarea
            id="composer"
            ref={box}
            rows={1}
            value={text}
            aria-label="Message"
            aria-autocomplete="list"
            aria-controls={mentions.isOpen ? "mentions" : undefined}
            aria-activedescendant={mentions.activeId}
            placeholder="Write a message"
            onChange={(event) => {
              setText(event.target.value);
              if (event.target.value) typed(sessionId);
            }}
            onKeyDown={press}
            onPaste={paste}
            className="max-h-[200px] min-h-9 flex-1 resize-none bg-transparent px-2 py-1.5 text-base leading-6 outline-none placeholder:text-soft sm:text-[0.94rem]"
          />
          <EmojiPicker
            onPick={insert}
            trigger={
              <Button look="ghost" size="icon" aria-label="Emoji" className="hidden sm:inline-flex">
                <SmilePlus size={18} aria-hidden />
              </Button>
            }
          />
          <Button size="icon" aria-label={editing ? "Save" : "Send"} disabled={!canSend} onClick={() => void submit()}>
            <SendHorizontal size={17} aria-hidden />
          </Button>
        </div>
        {text.length > MOST - 500 ? (
          <p role="status" className={text.length > MOST ? "px-4 pb-2 text-xs text-danger" : "px-4 pb-2 text-xs text-soft"}>
            {MOST - text.length} characters left
          </p>
        ) : null}
      </div>
    </div>
  );
}
