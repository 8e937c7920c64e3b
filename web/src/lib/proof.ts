/** What somebody types of their authenticator, or of the paper with their recovery codes. */
export function proofOf(typed: string): { code: string } | { recoveryCode: string } {
  const proof = typed.trim();
  return /^[0-9 ]{6,7}$/.test(proof) ? { code: proof.replace(" ", "") } : { recoveryCode: proof };
}
