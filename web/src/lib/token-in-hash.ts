/** The token of a mailed link: it stands behind `#`, where no server sees it, and is taken off at once. */
export function takeToken(): string {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token") ?? "";
  if (token) window.history.replaceState(null, "", window.location.pathname);
  return token;
}
