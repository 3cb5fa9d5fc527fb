// Dark or light: the system's choice, or the reader's.
import { effect, signal } from "@preact/signals";

const NAME = "anecdote.theme";
const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const theme = signal<Theme>(
  THEMES.find((name) => name === localStorage.getItem(NAME)) ?? "auto",
);
/** Grows whenever colours change: what is drawn on a canvas is drawn again. */
export const colourVersion = signal(0);

effect(() => {
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
  localStorage.setItem(NAME, theme.value);
  colourVersion.value = colourVersion.peek() + 1;
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colourVersion.value++;
});

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? "auto";
}

/** Whether the page is dark now. */
function isDark(): boolean {
  return (
    theme.value === "dark" ||
    (theme.value === "auto" && matchMedia("(prefers-color-scheme: dark)").matches)
  );
}

/** A variable of the style is a pair of colours; what an element makes of it is the one that holds. */
const probe = document.createElement("i");
probe.hidden = true;
document.documentElement.append(probe);

/** A colour of the page by its variable's name. */
export function colour(name: string): string {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

/** The colour of the nth of many curves: those of the plots first, then hues that lie far apart. */
export function curveColour(index: number): string {
  if (index < 5) return colour(`--plot-${index + 1}`);
  const hue = Math.round((index * 137.508) % 360);
  return `hsl(${hue} 60% ${isDark() ? 68 : 40}%)`;
}
