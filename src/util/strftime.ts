const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

function padded(value: number, width = 2): string {
  return String(value).padStart(width, "0");
}

/** Local time in C's `strftime` spelling, in English: %Y %y %m %d %e %b %B %a %A %H %I %M %S %p %j %F %T %%. */
export function formatTime(time: Date, format: string): string {
  const directives: Readonly<Record<string, () => string>> = {
    Y: () => String(time.getFullYear()),
    y: () => padded(time.getFullYear() % 100),
    m: () => padded(time.getMonth() + 1),
    d: () => padded(time.getDate()),
    e: () => String(time.getDate()).padStart(2),
    b: () => (MONTHS[time.getMonth()] ?? "").slice(0, 3),
    B: () => MONTHS[time.getMonth()] ?? "",
    a: () => (DAYS[time.getDay()] ?? "").slice(0, 3),
    A: () => DAYS[time.getDay()] ?? "",
    H: () => padded(time.getHours()),
    I: () => padded(time.getHours() % 12 || 12),
    M: () => padded(time.getMinutes()),
    S: () => padded(time.getSeconds()),
    p: () => (time.getHours() < 12 ? "AM" : "PM"),
    j: () => padded(dayOfYear(time), 3),
    F: () => formatTime(time, "%Y-%m-%d"),
    T: () => formatTime(time, "%H:%M:%S"),
    "%": () => "%",
  };
  return format.replaceAll(/%-?([A-Za-z%])/g, (whole: string, letter: string) => {
    const text = Object.hasOwn(directives, letter) ? directives[letter]?.() : undefined;
    if (text === undefined) return whole;
    return whole.startsWith("%-") ? text.replace(/^[0 ]+(?=.)/, "") : text;
  });
}

function dayOfYear(time: Date): number {
  const start = new Date(time.getFullYear(), 0, 1);
  const today = new Date(time.getFullYear(), time.getMonth(), time.getDate());
  return Math.round((today.getTime() - start.getTime()) / 86_400_000) + 1;
}
