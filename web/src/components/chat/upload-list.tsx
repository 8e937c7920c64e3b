"use client";

import { X } from "lucide-react";
import { Button } from "@/components/ui/button";
import { removeUpload, sizeText, type Upload } from "@/lib/uploads";

/** The files that wait for the message, each with how far it is. */
export function UploadList({ uploads }: { uploads: readonly Upload[] }) {
  if (uploads.length === 0) return null;
  return (
    <ul aria-label="Files to send" className="flex flex-wrap gap-2 border-b p-2">
      {uploads.map((upload) => (
        <li key={upload.key} className="flex w-60 items-center gap-2 rounded-lg border bg-panel px-2.5 py-1.5">
          <div className="min-w-0 flex-1">
            <p className="truncate text-sm">{upload.file.name}</p>
            {upload.failure ? (
              <p role="alert" className="truncate text-xs text-danger">
                {upload.failure}
              </p>
            ) : (
              <Progress upload={upload} />
            )}
          </div>
          <Button look="ghost" size="tiny" aria-label={`Remove ${upload.file.name}`} onClick={() => removeUpload(upload.key)}>
            <X size={15} aria-hidden />
          </Button>
        </li>
      ))}
    </ul>
  );
}

function Progress({ upload }: { upload: Upload }) {
  if (upload.attachment) return <p className="text-xs text-soft">{sizeText(upload.file.size)}</p>;
  return (
    <progress
      aria-label={`Uploading ${upload.file.name}`}
      max={1}
      value={upload.progress}
      className="block h-1.5 w-full overflow-hidden rounded-full bg-line accent-accent"
    />
  );
}
