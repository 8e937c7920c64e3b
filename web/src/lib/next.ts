/** The page of this site that a `next` parameter names; anything else is the chat. */
export function nextPage(search: string): string {
  const next = new URLSearchParams(search).get("next") ?? "";
  if (!next.startsWith("/")) return "/chat/";
  // Read as the browser reads it: it drops tabs, and `/\` and `/.//` lead to another host.
  const base = window.location.origin;
  const page = URL.canParse(next, base) ? new URL(next, base) : null;
  if (page?.origin !== base || page.pathname.startsWith("//")) return "/chat/";
  return page.pathname + page.search + page.hash;
}
