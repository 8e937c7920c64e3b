/**
 * Copy a text. Returns whether it was done.
 *
 * Pages on plain http of another machine have no clipboard, and a browser may refuse.
 */
export async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
