/** Which conversation is open stands in the address: it can be bookmarked and gone back from. */
export function goTo(sessionId: string | null): void {
  const url = sessionId ? `/chat/?s=${encodeURIComponent(sessionId)}` : "/chat/";
  if (window.location.pathname + window.location.search !== url) window.history.pushState(null, "", url);
}
