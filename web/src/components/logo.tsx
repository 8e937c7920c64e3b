/** The mark and the name. */
export function Logo({ size = 28 }: { size?: number }) {
  return (
    <span className="inline-flex items-center gap-2.5 font-semibold tracking-tight">
      <img src="/icon.svg" alt="" width={size} height={size} />
      <span className="text-lg">chatd</span>
    </span>
  );
}
