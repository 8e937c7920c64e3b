/** What is being written in a conversation: a draft, an answer, or a message anew. */
import { useEffect, useRef, useState, type KeyboardEvent, type RefObject } from "react";
import { editMessage } from "@/lib/changes";
import { isComposing } from "@/lib/keys";
import { mentionsIn } from "@/lib/mentions";
import { sendMessage } from "@/lib/sending";
import { typedNoMore } from "@/lib/typing";
import type { Message } from "@/lib/types";
import { takeUploads, useUploads, type Upload } from "@/lib/uploads";
import { useAuth } from "@/stores/auth";
import { roomOf, useChat } from "@/stores/chat";
import { draftOf, keepDraft } from "@/stores/unsent";
import { useMentions, type Mentions } from "./mention-list";

export const MOST = 16_384; // characters of a message
const HIGHEST = 200; // CSS pixels of the box
const QUOTED = 200; // characters of the message that is answered

export interface Writing {
  box: RefObject<HTMLTextAreaElement | null>;
  text: string;
  setText: (text: string) => void;
  mentions: Mentions;
  uploads: readonly Upload[];
  replyTo: Message | null;
  editing: Message | null;
  canSend: boolean;
  /** Send it, or keep the edit. */
  submit: () => Promise<void>;
  /** Answer and edit nothing any more. */
  stop: () => void;
  /** Put a piece of text where the caret is. */
  insert: (piece: string) => void;
  press: (event: KeyboardEvent<HTMLTextAreaElement>) => void;
}

/** The message as it is now; as it was when its page is not shown any more. */
function latestOf(message: Message): Message {
  return roomOf(message.sessionId).timeline.rows.find((row) => row.message.id === message.id)?.message ?? message;
}

function stop(): void {
  useChat.setState({ replyTo: null, editing: null });
}

function editLast(sessionId: string, userId: string): void {
  const own = roomOf(sessionId).timeline.rows.findLast(
    ({ status, message }) => status === "sent" && message.sender.id === userId && !message.deletedAt,
  );
  if (own) useChat.setState({ editing: own.message, replyTo: null });
}

/** The text of the box: the draft, kept as it is written, or that of the message that is edited. */
function useText(sessionId: string, userId: string, box: Writing["box"]): [string, (text: string) => void] {
  const editing = useChat((chat) => chat.editing);
  const [text, setText] = useState(() => draftOf(userId, sessionId));
  const edits = useRef<string | null>(null); // whose text the box shows; null for the draft
  useEffect(() => {
    if (editing === null && edits.current === null) keepDraft(userId, sessionId, text);
  }, [text, editing, userId, sessionId]);
  useEffect(() => {
    setText(editing ? latestOf(editing).content : draftOf(userId, sessionId));
    edits.current = editing?.id ?? null;
    if (editing) box.current?.focus();
  }, [editing, sessionId, userId, box]);
  useEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, HIGHEST)}px`;
  }, [text, box]);
  return [text, setText];
}

function send(sessionId: string, content: string, replyTo: Message | null): void {
  const answered = replyTo && latestOf(replyTo);
  typedNoMore(sessionId, false);
  sendMessage({
    sessionId,
    content,
    replyTo: answered && { id: answered.id, seq: answered.seq, sender: answered.sender, excerpt: answered.content.slice(0, QUOTED) },
    mentions: mentionsIn(content, roomOf(sessionId).members),
    attachments: takeUploads(sessionId),
  });
}

/** Everything that the composer of a conversation shows and does. */
export function useWriting(sessionId: string): Writing {
  const userId = useAuth((auth) => auth.account?.id ?? "");
  const { replyTo, editing } = useChat();
  const box = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useText(sessionId, userId, box);
  const uploads = useUploads((all) => all.uploads).filter((each) => each.sessionId === sessionId);
  const mentions = useMentions(sessionId, text, box, setText);
  const content = text.trim();
  const isUploading = uploads.some((each) => !each.attachment && !each.failure);
  const hasComplete = uploads.some((each) => each.attachment);
  const canSend = !isUploading && (content.length > 0 || hasComplete) && text.length <= MOST;
  useEffect(() => () => typedNoMore(sessionId), [sessionId]);

  const submit = async (): Promise<void> => {
    if (!canSend) return;
    if (editing) {
      const edited = latestOf(editing);
      if (content && (content === edited.content || (await editMessage(edited, content)))) stop();
      return;
    }
    send(sessionId, content, replyTo);
    setText("");
    keepDraft(userId, sessionId, "");
    stop();
    box.current?.focus();
  };
  const press = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    if (isComposing(event) || mentions.press(event)) return;
    if (event.key === "Enter" && !event.shiftKey) void submit();
    else if (event.key === "ArrowUp" && text === "" && !editing) editLast(sessionId, userId);
    else if (event.key === "Escape" && (editing || replyTo)) stop();
    else return;
    event.preventDefault();
  };
  const insert = (piece: string): void => {
    const at = box.current?.selectionStart ?? text.length;
    setText(text.slice(0, at) + piece + text.slice(at));
    box.current?.focus();
  };
  return { box, text, setText, mentions, uploads, replyTo, editing, canSend, submit, stop, insert, press };
}
