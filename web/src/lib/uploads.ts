/** Files on their way: straight from this browser to the store, with progress, and cancelled at will. */
import axios from "axios";
import { create } from "zustand";
import { say } from "@/components/ui/toast";
import { useAuth } from "@/stores/auth";
import { apiBase, call } from "./api";
import { ApiError, explain, toApiError } from "./errors";
import { newId } from "./ids";
import type { Attachment, FileAnswer, FileCreated, FileLink } from "./types";

const STALL_MS = 60_000; // without a byte, or without an answer after the last one: longer than the server waits itself

/** One file that waits in a composer. */
export interface Upload {
  key: string;
  sessionId: string;
  file: File;
  /** From 0 to 1. */
  progress: number;
  /** Set when it is complete and may be sent. */
  attachment: Attachment | null;
  failure: string | null;
  cancel: () => void;
}

interface UploadStore {
  uploads: readonly Upload[];
}

export const useUploads = create<UploadStore>()(() => ({ uploads: [] }));

const { setState: set, getState: get } = useUploads;

function patch(key: string, change: Partial<Upload>): void {
  set({ uploads: get().uploads.map((each) => (each.key === key ? { ...each, ...change } : each)) });
}

/** Why a file is not even tried; null when it is. */
function refusal(file: File): string | null {
  const limits = useAuth.getState().config?.features.fileLimits;
  if (file.size === 0) return "The file is empty.";
  if (limits && file.size > limits.maxBytes) return `The file is larger than ${sizeText(limits.maxBytes)}.`;
  return null;
}

/** A size for people. */
export function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = "";
  for (const next of units) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** Begin to upload files for a conversation. */
export function addFiles(sessionId: string, files: readonly File[]): void {
  const most = useAuth.getState().config?.features.fileLimits?.maxAttachments ?? 10;
  const waiting = get().uploads.filter((each) => each.sessionId === sessionId).length;
  const room = Math.max(0, most - waiting);
  if (files.length > room) say(`A message takes ${most} files`, "The others were left out.");
  for (const file of files.slice(0, room)) {
    const controller = new AbortController();
    const key = newId();
    const failure = refusal(file);
    const upload: Upload = {
      key,
      sessionId,
      file,
      progress: 0,
      attachment: null,
      failure,
      cancel: () => controller.abort(),
    };
    set({ uploads: [...get().uploads, upload] });
    if (!failure) void send(upload, controller.signal);
  }
}

async function send({ key, sessionId, file }: Upload, signal: AbortSignal): Promise<void> {
  try {
    const attachment = await put(file, { sessionId }, signal, (progress) => patch(key, { progress }));
    patch(key, { attachment, progress: 1 });
  } catch (trouble) {
    if (!signal.aborted) patch(key, { failure: explain(trouble) });
  }
}

/** Promise a file, send its bytes to where the server says, and have them checked. Throws ApiError. */
async function put(
  file: File,
  place: { sessionId?: string },
  signal: AbortSignal,
  onProgress: (progress: number) => void,
): Promise<Attachment> {
  const mimeType = file.type.split(";")[0] || "application/octet-stream";
  const data = { fileName: file.name || "file", size: file.size, mimeType, ...place };
  const { fileId, upload } = await call<FileCreated>({ method: "POST", url: "/files", data, signal });
  await putBytes(upload, file, signal, onProgress);
  const answer = await call<FileAnswer>({ method: "POST", url: `/files/${fileId}/complete`, data: {}, signal });
  return answer.file;
}

/** Send a file's bytes; one that stands still is given up. Throws ApiError. */
async function putBytes(
  { url, method, headers }: FileCreated["upload"],
  file: File,
  signal: AbortSignal,
  onProgress: (progress: number) => void,
): Promise<void> {
  const link = new AbortController(); // cut by the caller, or when nothing moves
  let isStalled = false;
  const stall = (): void => {
    isStalled = true;
    link.abort();
  };
  let timer = setTimeout(stall, STALL_MS);
  signal.addEventListener("abort", () => link.abort(), { once: true });
  try {
    await axios.request({
      // The link is signed: it takes no login, and may lead to another host.
      url: url.startsWith("/") ? apiBase() + url : url,
      method,
      headers,
      data: file,
      signal: link.signal,
      onUploadProgress: ({ loaded, total }) => {
        clearTimeout(timer);
        timer = setTimeout(stall, STALL_MS);
        onProgress(loaded / (total ?? file.size));
      },
    });
  } catch (trouble) {
    if (!isStalled) throw toApiError(trouble);
    throw new ApiError({ code: "timeout", message: "The upload stood still.", retryable: true });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Upload a picture that is to become the caller's avatar; returns its id. `onProgress` hears a number
 * from 0 to 1. Throws ApiError, also when `signal` has cut it.
 */
export async function uploadAvatar(file: File, signal: AbortSignal, onProgress: (progress: number) => void): Promise<string> {
  const { id } = await put(file, {}, signal, onProgress);
  return id;
}

/** Take a file out of the composer; one that is under way is cut. */
export function removeUpload(key: string): void {
  const upload = get().uploads.find((each) => each.key === key);
  upload?.cancel();
  set({ uploads: get().uploads.filter((each) => each.key !== key) });
  if (upload?.attachment) {
    void call({ method: "DELETE", url: `/files/${upload.attachment.id}` }).catch(() => undefined);
  }
}

/** Forget all files: another user begins. */
export function resetUploads(): void {
  for (const upload of get().uploads) upload.cancel();
  set({ uploads: [] });
}

/** Take the complete files of a conversation out of the composer: they are being sent. */
export function takeUploads(sessionId: string): Attachment[] {
  const isTaken = (each: Upload): boolean => each.sessionId === sessionId && each.attachment !== null;
  const taken = get().uploads.filter(isTaken).flatMap((each) => each.attachment ?? []);
  set({ uploads: get().uploads.filter((each) => !isTaken(each)) });
  return taken;
}

/** A link to a file that needs no login, good for a minute. Throws ApiError. */
export async function fileLink(fileId: string, thumbnail = false): Promise<string> {
  const params = thumbnail ? { thumbnail: "true" } : {};
  const { url } = await call<FileLink>({ url: `/files/${fileId}/link`, params });
  return url.startsWith("/") ? apiBase() + url : url;
}
