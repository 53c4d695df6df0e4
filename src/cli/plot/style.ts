/** Colours of series and groups, repeated when there are more: light, and dark where the reader wants it. */
const light = [
  ...['#0f766e', '#c2410c', '#4f46e5', '#a16207', '#be185d', '#0369a1'],
  ...['#4d7c0f', '#7e22ce', '#b91c1c', '#57534e', '#0891b2', '#9a3412'],
]
const dark = [
  ...['#5eead4', '#fdba74', '#a5b4fc', '#fde047', '#f9a8d4', '#7dd3fc'],
  ...['#bef264', '#d8b4fe', '#fca5a5', '#d6d3d1', '#22d3ee', '#fb923c'],
]

/** Number of colours; series and groups beyond them begin again. */
export const paletteSize = light.length

const paletteOf = (colours: readonly string[]): string =>
  colours.map((colour, i) => `--plot-${i}: ${colour};`).join(' ')

/**
 * Rules of every plot, for the style sheet of the page that holds it. They take `--ink`, `--soft`, `--line`
 * and `--card` from the page.
 */
export const plotStyle = `
:root { ${paletteOf(light)} }
@media (prefers-color-scheme: dark) { :root { ${paletteOf(dark)} } }
.plot { display: block; width: 100%; height: auto; font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.plot text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.plot .heading { fill: var(--ink); font-size: 14px; font-weight: 600; }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot .axis { stroke: var(--soft); stroke-width: 1; }
.plot .mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 3; }
.plot .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.plot .dashed { stroke-dasharray: 6 4; }
.plot .band { stroke: none; fill-opacity: .18; }
.plot .error { stroke-width: 1.3; fill: none; }
.plot .bar + .error, .plot .bar ~ .error { stroke: var(--ink); }
.plot .beside { stroke: var(--ink); stroke-width: 2; stroke-dasharray: 2 2; fill: none; }
.plot .spot { fill-opacity: .75; stroke: none; }
${light.map((_, i) => `.plot .stroke-${i} { stroke: var(--plot-${i}); } .plot .fill-${i} { fill: var(--plot-${i}); }`).join('\n')}
`

/** What a plot takes from the page, for one that stands alone. */
export const standaloneStyle = `
:root { --card: #ffffff; --ink: #1c1b1a; --soft: #6b6863; --line: #e5e2dc; }
@media (prefers-color-scheme: dark) { :root { --card: #1c1e21; --ink: #ecebe8; --soft: #9c9a95; --line: #2e3135; } }
.plot .paper { fill: var(--card); }
${plotStyle}`
