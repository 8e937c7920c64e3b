const DEEPEST = 50; // lists and quotes in one another; the parser calls itself for each, and thousands are the end of its stack
const LONGEST = 100; // signs of emphasis, or brackets, in one run: the parser takes time by its square

const MARKERS = new RegExp(String.raw`^(?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t]))){${DEEPEST + 1}}`, "m");
const RUN = new RegExp(String.raw`[*_~[\]]{${LONGEST + 1}}`);

/** Whether a text is nested so deeply that the markdown parser would hang or fail; linear in its length. */
export function isTooDeep(text: string): boolean {
  return MARKERS.test(text) || RUN.test(text);
}
