"use client";

import { memo } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { cn } from "@/lib/cn";
import { isTooDeep } from "@/lib/nesting";
import { CodeBlock } from "./code-block";
import { PlainIfBroken, PlainText } from "./plain-if-broken";

const COMPONENTS: Components = {
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noopener noreferrer" className="text-accent underline underline-offset-2">
      {children}
    </a>
  ),
  pre: ({ children }) => <CodeBlock>{children}</CodeBlock>,
  code: ({ children, className }) => (
    <code className={cn("rounded bg-line/60 px-1 py-0.5 font-mono text-[0.9em] in-[pre]:bg-transparent in-[pre]:p-0", className)}>{children}</code>
  ),
  // Pictures of elsewhere would tell elsewhere who reads: they are links.
  img: ({ src, alt }) => (
    <a href={typeof src === "string" ? src : undefined} target="_blank" rel="noopener noreferrer" className="text-accent underline">
      {alt || "picture"}
    </a>
  ),
  ul: ({ children }) => <ul className="my-1 list-disc pl-5 deep:pl-0">{children}</ul>,
  ol: ({ children, start }) => (
    <ol start={start} className="my-1 list-decimal pl-5 deep:pl-0">
      {children}
    </ol>
  ),
  blockquote: ({ children }) => <blockquote className="my-1 border-l-3 border-line pl-3 text-soft deep:border-l-0 deep:pl-0">{children}</blockquote>,
  h1: ({ children }) => <p className="mt-2 mb-1 text-lg font-semibold">{children}</p>,
  h2: ({ children }) => <p className="mt-2 mb-1 font-semibold">{children}</p>,
  h3: ({ children }) => <p className="mt-2 mb-1 font-semibold">{children}</p>,
  h4: ({ children }) => <p className="mt-1 font-semibold">{children}</p>,
  h5: ({ children }) => <p className="mt-1 font-semibold">{children}</p>,
  h6: ({ children }) => <p className="mt-1 font-semibold">{children}</p>,
  table: ({ children }) => (
    <div className="my-2 overflow-x-auto">
      <table className="border-collapse text-sm [&_td]:border [&_td]:px-2 [&_td]:py-1 [&_th]:border [&_th]:px-2 [&_th]:py-1">{children}</table>
    </div>
  ),
  p: ({ children }) => <p className="whitespace-pre-wrap [&:not(:first-child)]:mt-2">{children}</p>,
};

/** Text of a message. Raw HTML stays text; links leave without a trace of where they came from. */
export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <div className="min-w-0 break-words">
      {isTooDeep(text) ? (
        <PlainText text={text} />
      ) : (
        <PlainIfBroken text={text}>
          <ReactMarkdown remarkPlugins={[remarkGfm]} components={COMPONENTS}>
            {text}
          </ReactMarkdown>
        </PlainIfBroken>
      )}
    </div>
  );
});
