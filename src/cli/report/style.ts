import { plotStyle } from '../plot/plots.ts'
import { cloudStyle } from './cloudStyle.ts'

/** The report's whole style sheet; its hash stands in the page's content security policy. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #faf9f7; --card: #ffffff; --ink: #1c1b1a; --soft: #6b6863; --line: #e5e2dc;
  --accent: #0f766e; --accent-soft: #d5ece9; --warn: #b45309; --heat: 15 118 110;
  --shadow: 0 1px 2px rgb(40 30 20 / .06), 0 4px 16px rgb(40 30 20 / .05);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131416; --card: #1c1e21; --ink: #ecebe8; --soft: #9c9a95; --line: #2e3135;
    --accent: #5eead4; --accent-soft: #17403b; --warn: #fbbf24; --heat: 94 234 212;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0 auto; padding: clamp(1rem, 4vw, 3rem); max-width: 84rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
h1 { margin: 0; font-size: clamp(1.7rem, 4vw, 2.6rem); line-height: 1.15; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { margin: 3.5rem 0 .4rem; font-size: 1.35rem; letter-spacing: -.01em; }
h3 { margin: 0; font-size: 1.1rem; }
p { margin: .3rem 0; }
.soft { color: var(--soft); }
.brand { margin: 0 0 .6rem; font-weight: 600; letter-spacing: .04em; color: var(--accent); }
.lead { font-size: 1.05rem; color: var(--soft); overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.6rem 0 0; padding: 0; }
.figures div { flex: 1 1 8.5rem; padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shadow); }
.figures dt { font-size: .82rem; color: var(--soft); }
.figures dd { margin: 0; font-size: 1.65rem; font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.figures .warn dd { color: var(--warn); }
.overview { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .9rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.overview a { display: block; height: 100%; overflow: hidden; color: inherit; text-decoration: none; background: var(--card); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shadow); transition: border-color .15s, transform .15s; }
.overview a:hover { border-color: var(--accent); transform: translateY(-2px); }
@media (prefers-reduced-motion: reduce) { .overview a, .overview a:hover { transition: none; transform: none; } }
.mosaic { display: grid; grid-template-columns: 1fr 1fr; grid-auto-rows: 4.1rem; gap: 2px; height: calc(8.2rem + 2px); background: var(--line); overflow: hidden; }
.mosaic img { width: 100%; height: 100%; object-fit: cover; display: block; }
.overview .text { display: block; padding: .55rem .75rem .7rem; line-height: 1.35; }
.overview b { display: block; }
.overview .text span { font-size: .86rem; color: var(--soft); overflow-wrap: anywhere; }
.cluster { margin: 0; padding: 2.2rem 0 0; scroll-margin-top: 0; }
.cluster header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem .8rem; padding-bottom: .6rem; }
.cluster header span { color: var(--soft); font-size: .92rem; overflow-wrap: anywhere; }
.cluster header a { margin-left: auto; font-size: .85rem; text-decoration: none; }
.sheet { display: flex; flex-wrap: wrap; gap: 5px; margin: 0; padding: 0; list-style: none; }
.sheet li { position: relative; flex: 1 0 auto; height: 104px; max-width: 100%; overflow: hidden; border-radius: 7px; background: var(--line); }
.sheet li.gap, .sheet li.lost { flex: 0 0 auto; display: grid; place-items: center; min-width: 7rem; padding: 0 .8rem; font-size: .85rem; color: var(--soft); text-align: center; background: none; border: 1px dashed var(--line); }
.sheet li.end { flex: 1000 0 0; height: 0; }
.sheet img { display: block; width: auto; min-width: 100%; max-width: 100%; height: 100%; object-fit: cover; }
.sheet .p { position: absolute; right: 4px; bottom: 4px; max-width: calc(100% - 8px); overflow: hidden; white-space: nowrap; text-overflow: ellipsis; padding: 0 .36rem; border-radius: 99px; font-size: .7rem; line-height: 1.45; color: #fff; background: rgb(0 0 0 / .58); font-variant-numeric: tabular-nums; }
.sheet li.other::after { content: ""; position: absolute; inset: 0; border: 3px solid var(--warn); border-radius: 7px; pointer-events: none; }
.sheet li.best { outline: 3px solid var(--accent); outline-offset: -3px; }
.finding { margin: 1.4rem 0 .3rem; }
.groups { display: flex; flex-wrap: wrap; gap: .9rem 1.6rem; margin-top: .6rem; }
.groups .sheet li { flex-grow: 0; }
.finding + .sheet, .finding + .soft { margin-bottom: .6rem; }
.sheet li.faint img { opacity: .4; }
.query > header { display: flex; align-items: center; gap: 1.1rem; margin-top: 3rem; }
.query > header h2 { margin: 0; overflow-wrap: anywhere; }
.query h3 { margin-top: 1.4rem; }
.query .sheet { margin-top: .5rem; }
.asked img { display: block; height: 104px; width: auto; max-width: 40vw; object-fit: cover; border-radius: 9px; outline: 3px solid var(--accent); }
.scroll { overflow-x: auto; margin-top: .8rem; border: 1px solid var(--line); border-radius: 12px; background: var(--card); box-shadow: var(--shadow); }
.scroll.fit { width: fit-content; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .9rem; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { border-top: 0; font-size: .82rem; font-weight: 600; color: var(--soft); }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; overflow-wrap: anywhere; }
tbody th { font-weight: 500; }
tr.best { background: var(--accent-soft); }
td.best { font-weight: 700; color: var(--accent); }
.scores small { display: block; font-weight: 400; color: var(--soft); }
.scores thead th[colspan] { text-align: center; border-left: 1px solid var(--line); }
.scores tbody th { white-space: normal; min-width: 9rem; }
.published { color: var(--soft); font-style: italic; }
.matrix { width: auto; font-size: .85rem; }
.matrix th, .matrix td { padding: .35rem .5rem; min-width: 2.7rem; text-align: center; border: 0; }
.matrix tbody th { text-align: left; padding-left: .9rem; position: sticky; left: 0; background: var(--card); }
.matrix thead th:first-child { position: sticky; left: 0; background: var(--card); }
.h0 { color: var(--soft); opacity: .45; }
${Array.from({ length: 10 }, (_, i) => `.h${i + 1} { background: rgb(var(--heat) / ${(0.08 * (i + 1)).toFixed(2)}); }`).join('\n')}
.h8, .h9, .h10 { color: var(--paper); font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: .9rem; margin-top: .8rem; }
.charts.wide { grid-template-columns: 1fr; }
.charts.wide .plot { max-width: 52rem; margin: 0 auto; }
.film .controls { display: flex; gap: .8rem; align-items: center; max-width: 52rem; margin: .4rem auto; }
.film input { flex: 1; accent-color: var(--accent); }
.film button { min-width: 5rem; padding: .3rem .8rem; font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 8px; cursor: pointer; }
.film [hidden] { display: none; }
.charts.pair { grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
td.mid { text-align: center; }
.chart { margin: 0; padding: .8rem 1rem .5rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shadow); }
.chart figcaption { display: flex; justify-content: space-between; font-size: .88rem; color: var(--soft); }
.chart b { color: var(--ink); font-variant-numeric: tabular-nums; }
${plotStyle}
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 0 2.5rem; }
.facts dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.4rem; margin: .8rem 0 0; align-content: start; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
details summary { cursor: pointer; margin-top: .8rem; color: var(--soft); }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .88rem; color: var(--soft); }
${cloudStyle}
@media (max-width: 40rem) {
  .overview { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
  .sheet li { height: 84px; }
  .figures div { flex-basis: 40%; }
  th, td { padding: .45rem .6rem; }
}
@media print { .sheet li { break-inside: avoid; } .cluster header a { display: none; } }
`
