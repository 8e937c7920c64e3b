import type { Features } from "./types";

/** Where the daemon is and what it can do. */
export interface Config {
  /** Origin of the daemon; empty when it serves this page itself. */
  apiBase: string;
  features: Features;
}

async function read(url: string): Promise<Partial<Features> & { apiBase?: string }> {
  const answer = await fetch(url, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.json();
}

/**
 * Read `/config.json`: the daemon's own, or a static host's file that names the daemon in `apiBase`.
 *
 * Throws when neither can be reached; the caller shows that and tries again.
 */
export async function loadConfig(): Promise<Config> {
  const here = await read("/config.json");
  const apiBase = (here.apiBase ?? "").replace(/\/+$/, "");
  const features = apiBase ? await read(`${apiBase}/config.json`) : here;
  return { apiBase, features: features as Features };
}
