/** The style of documents in one file: light and dark by the system's choice, black on white in print. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1d2127; --muted: #5b636e; --line: #d8dce1; --panel: #f5f6f8; --warn: #8a4b00; --warn-paper: #fff4e0; --edge: rgb(20 28 40 / 45%);
  --plot-ink: var(--ink); --plot-muted: var(--muted); --plot-faint: #dfe3e8; --plot-paper: var(--paper);
  --plot-1: #2f67b5; --plot-2: #b8472c; --plot-3: #2f7d50; --plot-4: #7f54ae; --plot-5: #8a6a0f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --ink: #e7eaee; --muted: #a3acb8; --line: #3a414a; --panel: #1e2329; --warn: #ffcf8a; --warn-paper: #3a2a10; --edge: rgb(210 220 235 / 45%);
    --plot-faint: #30363e;
    --plot-1: #7fb0f2; --plot-2: #f09a80; --plot-3: #7fcf9f; --plot-4: #c6a3ec; --plot-5: #dcbb5a;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 24px 20px 60px; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3em; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2.4em 0 .6em; padding-top: .6em; border-top: 1px solid var(--line); }
p { max-width: 75ch; }
a { color: var(--plot-1); }
.banner { padding: 10px 14px; border: 2px solid var(--warn); border-radius: 6px; background: var(--warn-paper); color: var(--warn); font-weight: 600; max-width: none; }
.key { display: flex; flex-wrap: wrap; gap: 6px 22px; padding: 0; margin: 1em 0; list-style: none; color: var(--muted); }
.key li { display: flex; align-items: center; gap: 7px; }
.key svg { width: 44px; height: 16px; flex: none; }
.plots { display: flex; flex-wrap: wrap; gap: 18px; margin-bottom: 18px; align-items: flex-start; }
figure { flex: 1 1 440px; max-width: 565px; min-width: 0; margin: 0; padding: 10px; border: 1px solid var(--line); border-radius: 6px; break-inside: avoid; }
figcaption { font-weight: 600; margin: 0 0 4px 2px; }
figcaption small { display: block; font-weight: 400; color: var(--muted); }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; max-width: 100%; scrollbar-width: thin; background:
  linear-gradient(to right, var(--paper) 30%, transparent) left / 40px 100% no-repeat local,
  linear-gradient(to left, var(--paper) 30%, transparent) right / 40px 100% no-repeat local,
  linear-gradient(to right, var(--edge), transparent) left / 16px 100% no-repeat scroll,
  linear-gradient(to left, var(--edge), transparent) right / 16px 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--plot-1); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .875rem; min-width: min(100%, 760px); font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px 4px 0; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 13em; }
tbody th { font-weight: 400; }
thead th { color: var(--muted); font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
td.why { text-align: left; min-width: 22em; white-space: normal; color: var(--muted); }
.pairs th { text-align: left; color: var(--muted); font-weight: 400; width: 13em; }
.pairs td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.sample { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 1.2em; }
h3 { font-size: 1rem; margin: 1.4em 0 .3em; }
.wide svg { display: block; width: 100%; min-width: 640px; max-width: 1100px; height: auto; }
details { margin: .6em 0; }
summary { cursor: pointer; color: var(--muted); }
code { font-size: .9em; overflow-wrap: anywhere; }
@media (max-width: 700px) { body { padding: 16px 12px 40px; } figure { padding: 8px 4px; } figcaption { margin-left: 6px; } th:first-child, td:first-child { min-width: 9em; max-width: 42vw; overflow-wrap: anywhere; } }
@media print {
  :root { --paper: #fff; --ink: #000; --muted: #333; --line: #bbb; --plot-faint: #ddd; --plot-1: #2f67b5; --plot-2: #b8472c; --plot-3: #2f7d50; --plot-4: #7f54ae; --plot-5: #8a6a0f; --warn: #000; --warn-paper: #fff; }
  body { max-width: none; padding: 0; font-size: 11px; }
  figure { max-width: 12cm; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
  .scroll { overflow: visible; }
}
`;
