/** Which conversation is open stands in the address: it can be bookmarked and gone back from. */
export function goTo(sessionId: string | null): void {
  push(sessionId ? `/chat/?s=${encodeURIComponent(sessionId)}` : "/chat/");
}

/** The same for a conversation with the assistant; null is their list. */
export function goToAssistant(aiSessionId: string | null): void {
  push(`/chat/?a=${aiSessionId ? encodeURIComponent(aiSessionId) : ""}`);
}

function push(url: string): void {
  if (window.location.pathname + window.location.search !== url) window.history.pushState(null, "", url);
}
