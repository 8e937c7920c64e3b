const DAY_MS = 86_400_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

function midnight(time: number): number {
  return new Date(time).setHours(0, 0, 0, 0);
}

/** Whole days from one calendar day to another, in this time zone. */
function daysBetween(then: number, now: number): number {
  return Math.round((midnight(now) - midnight(then)) / DAY_MS);
}

/** The time of day, as people here write it. */
export function timeOfDay(iso: string): string {
  return clock.format(new Date(iso));
}

/** Date and time in full, for titles. */
export function fullTime(iso: string): string {
  return full.format(new Date(iso));
}

/** What a day separator says: Today, Yesterday, a weekday within a week, else the date. */
export function dayLabel(iso: string, now = Date.now()): string {
  const days = daysBetween(Date.parse(iso), now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return days > 1 && days < 7 ? weekday.format(new Date(iso)) : date.format(new Date(iso));
}

/** When something was, in the width of a list: a time today, else a day. */
export function listTime(iso: string, now = Date.now()): string {
  return daysBetween(Date.parse(iso), now) === 0 ? timeOfDay(iso) : short.format(new Date(iso));
}

/** How long ago somebody was seen. */
export function ago(iso: string, now = Date.now()): string {
  const minutes = Math.floor(Math.max(0, now - Date.parse(iso)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return listTime(iso, now);
}

/** Whether two messages stand on the same calendar day. */
export function isSameDay(one: string, other: string): boolean {
  return midnight(Date.parse(one)) === midnight(Date.parse(other));
}
