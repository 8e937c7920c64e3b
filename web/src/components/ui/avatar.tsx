import { apiBase } from "@/lib/api";
import { cn } from "@/lib/cn";
import { STATUS_LABEL, type StatusName } from "@/lib/status";

interface AvatarProps {
  name: string;
  url: string | null;
  color: string;
  size?: "sm" | "md" | "lg";
  status?: StatusName | undefined;
}

const SIZES = { sm: "size-8 text-xs", md: "size-10 text-sm", lg: "size-16 text-xl" };
const DOTS: Record<StatusName, string> = {
  ONLINE: "bg-online",
  AWAY: "bg-away",
  BUSY: "bg-busy",
  OFFLINE: "bg-soft/60",
};

/** The first letters of at most two words. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).slice(0, 2);
  return words.map((word) => Array.from(word)[0] ?? "").join("").toLocaleUpperCase();
}

/** A picture of elsewhere would tell elsewhere who looks at it: it is not fetched. */
function isOurs(url: string): boolean {
  return url.startsWith("/") || (apiBase() !== "" && url.startsWith(`${apiBase()}/`));
}

/** A picture, or initials on the person's colour; the state stands as a dot and as text. */
export function Avatar({ name, url, color, size = "md", status }: AvatarProps) {
  return (
    <span className={cn("relative inline-block shrink-0", SIZES[size])}>
      {url && isOurs(url) ? (
        <img src={url.startsWith("/") ? apiBase() + url : url} alt="" className="size-full rounded-full object-cover" />
      ) : (
        <svg viewBox="0 0 40 40" aria-hidden className="size-full rounded-full">
          <rect width="40" height="40" fill={color} />
          <text x="20" y="20.5" dominantBaseline="central" textAnchor="middle" fontSize="15" fontWeight="600" fill="#fff">
            {initials(name)}
          </text>
        </svg>
      )}
      {status ? (
        <span className={cn("absolute -right-0.5 -bottom-0.5 size-3 rounded-full border-2 border-paper", DOTS[status])}>
          <span className="sr-only">{STATUS_LABEL[status]}</span>
        </span>
      ) : null}
    </span>
  );
}
