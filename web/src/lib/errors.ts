import axios from "axios";
import type { Refusal } from "./types";

/** A call that the server refused, or that did not reach it (`code` is then `network`). */
export class ApiError extends Error {
  readonly code: Refusal["code"] | "network" | "timeout";
  readonly isRetryable: boolean;
  readonly retryAfterMs: number | null;
  readonly details: Record<string, unknown>;

  constructor(refusal: Omit<Partial<Refusal>, "code"> & { code: ApiError["code"]; message: string }) {
    super(refusal.message);
    this.name = "ApiError";
    this.code = refusal.code;
    this.isRetryable = refusal.retryable ?? false;
    this.retryAfterMs = refusal.retryAfterMs ?? null;
    this.details = refusal.details ?? {};
  }

  /** What went wrong with which field, by the field's name. */
  get fields(): Record<string, string> {
    const fields = this.details["fields"];
    if (!Array.isArray(fields)) return {};
    return Object.fromEntries(
      (fields as { field: string; message: string }[]).map((each) => [each.field, each.message]),
    );
  }
}

/** Turn whatever a call threw into an ApiError. */
export function toApiError(trouble: unknown): ApiError {
  if (trouble instanceof ApiError) return trouble;
  if (axios.isAxiosError(trouble)) {
    const refusal = (trouble.response?.data as { error?: Refusal } | undefined)?.error;
    if (refusal) return new ApiError(refusal);
    if (trouble.code === "ECONNABORTED") {
      return new ApiError({ code: "timeout", message: "The server did not answer in time.", retryable: true });
    }
    return new ApiError({ code: "network", message: "The server cannot be reached.", retryable: true });
  }
  return new ApiError({ code: "internal", message: trouble instanceof Error ? trouble.message : String(trouble) });
}

const SAID: Partial<Record<ApiError["code"], string>> = {
  rate_limited: "That was a lot at once. Wait a moment and try again.",
  overloaded: "The server is busy. Try again in a moment.",
  unavailable: "The server cannot do that right now. Try again in a moment.",
  not_a_member: "You are not a member of this conversation.",
  muted: "You are muted in this conversation.",
  session_read_only: "Only admins can write in this conversation.",
  slow_mode: "Slow mode is on. Wait a moment before you write again.",
  draining: "The server is restarting. Try again in a moment.",
  second_factor_required: "A code of your authenticator is asked for.",
};

/** A sentence for people about a refusal. */
export function explain(trouble: unknown): string {
  const error = toApiError(trouble);
  const wait = error.retryAfterMs;
  if ((error.code === "rate_limited" || error.code === "slow_mode") && wait !== null && wait >= 1000) {
    return `Wait ${Math.ceil(wait / 1000)} s and try again.`;
  }
  const sentence = SAID[error.code] ?? error.message;
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
