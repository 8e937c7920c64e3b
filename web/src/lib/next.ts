/** The page of this site that a `next` parameter names; anything else is the chat. */
export function nextPage(search: string): string {
  const next = new URLSearchParams(search).get("next") ?? "";
  return /^\/(?![/\\])/.test(next) ? next : "/chat/";
}
