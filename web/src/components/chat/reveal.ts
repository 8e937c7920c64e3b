const TRIES = 20;

/** Bring a message into view as soon as it is drawn, and mark it for a moment. */
export function revealed(messageId: string, tries = TRIES): void {
  requestAnimationFrame(() => {
    const row = document.querySelector(`[data-message="${CSS.escape(messageId)}"]`);
    if (row) {
      row.scrollIntoView({ block: "center" });
      row.classList.add("bg-accent-soft");
      setTimeout(() => row.classList.remove("bg-accent-soft"), 2000);
    } else if (tries > 0) setTimeout(() => revealed(messageId, tries - 1), 50);
  });
}
