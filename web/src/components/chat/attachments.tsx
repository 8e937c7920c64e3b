"use client";

import { FileText } from "lucide-react";
import { useEffect, useState } from "react";
import { sayFailure } from "@/components/ui/toast";
import type { Attachment } from "@/lib/types";
import { fileLink, sizeText } from "@/lib/uploads";

const LONGEST_SIDE = 320; // CSS pixels of a picture in a conversation

/** The files of a message. */
export function Attachments({ attachments }: { attachments: readonly Attachment[] }) {
  if (attachments.length === 0) return null;
  return (
    <ul aria-label="Files" className="mt-1.5 flex flex-wrap gap-2">
      {attachments.map((file) => (
        <li key={file.id}>{file.hasThumbnail ? <Picture file={file} /> : <FileCard file={file} />}</li>
      ))}
    </ul>
  );
}

async function open(file: Attachment): Promise<void> {
  // Opened first: a window that opens after an answer is taken for an unwanted one.
  const page = window.open("", "_blank");
  if (page) page.opener = null; // a file has no hold on this page
  try {
    const url = await fileLink(file.id);
    if (page) page.location.href = url;
    else window.location.assign(url);
  } catch (trouble) {
    page?.close();
    sayFailure("The file did not come", trouble);
  }
}

function FileCard({ file }: { file: Attachment }) {
  return (
    <button
      type="button"
      onClick={() => void open(file)}
      className="flex max-w-72 items-center gap-3 rounded-xl border bg-raised px-3 py-2 text-left hover:border-accent"
    >
      <FileText size={22} aria-hidden className="shrink-0 text-accent" />
      <span className="min-w-0">
        <span className="block truncate text-sm font-medium">{file.name}</span>
        <span className="block text-xs text-soft">{sizeText(file.size)}</span>
      </span>
    </button>
  );
}

function Picture({ file }: { file: Attachment }) {
  const [url, setUrl] = useState<string | null>(null);
  const [isLost, setLost] = useState(false);
  useEffect(() => {
    let isCurrent = true;
    fileLink(file.id, true).then(
      (link) => isCurrent && setUrl(link),
      () => isCurrent && setLost(true),
    );
    return () => {
      isCurrent = false;
    };
  }, [file.id]);
  if (isLost) return <FileCard file={file} />;
  const [width, height] = [file.width ?? LONGEST_SIDE, file.height ?? LONGEST_SIDE];
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  return (
    <button type="button" onClick={() => void open(file)} className="block overflow-hidden rounded-xl border bg-panel">
      {/* Its place is there before it is: nothing moves when it comes. */}
      <img
        src={url ?? "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="}
        alt={file.name}
        width={Math.round(width * scale)}
        height={Math.round(height * scale)}
        onError={() => setLost(true)}
      />
    </button>
  );
}
