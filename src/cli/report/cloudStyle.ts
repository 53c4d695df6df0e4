/** The image cloud's part of the style sheet. */
export const cloudStyle = `
.cloud-bar { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; margin: .8rem 0 .6rem; }
.cloud-bar fieldset { display: flex; flex-wrap: wrap; gap: .2rem .9rem; margin: 0; padding: 0; border: 0; font-size: .92rem; }
.cloud-bar legend { float: left; margin-right: .9rem; padding: 0; color: var(--soft); }
.cloud-bar label { cursor: pointer; }
.cloud-bar input { accent-color: var(--accent); }
.cloud-zoom { display: flex; gap: .35rem; margin-left: auto; }
.cloud button { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 8px; cursor: pointer; }
.cloud button:hover { border-color: var(--accent); }
.cloud-zoom button { min-width: 2.2rem; padding: .2rem .6rem; }
.cloud-stage { position: relative; height: min(72vh, 46rem); overflow: hidden; background: var(--card); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shadow); }
.cloud-canvas { display: block; width: 100%; height: 100%; color: var(--ink); cursor: grab; touch-action: none; border-radius: 12px; }
.cloud-canvas:active { cursor: grabbing; }
.cloud-canvas:focus-visible { outline-offset: -3px; border-radius: 12px; }
.cloud-card { position: absolute; left: 0; top: 0; display: grid; gap: .25rem; max-width: min(15.5rem, 80%); padding: .5rem; font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere; background: var(--card); border: 1px solid var(--line); border-radius: 10px; box-shadow: 0 4px 22px rgb(0 0 0 / .22); }
.cloud-card[hidden] { display: none; }
.cloud-card img, .cloud-card canvas { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.cloud-card span { color: var(--soft); }
.cloud-key { display: flex; flex-wrap: wrap; gap: .35rem; margin-top: .7rem; max-height: 9.5rem; overflow-y: auto; }
.cloud-key button { display: inline-flex; align-items: center; gap: .4rem; padding: .12rem .55rem; font-size: .84rem; overflow-wrap: anywhere; text-align: left; }
.cloud-key button[aria-pressed=true] { border-color: var(--accent); background: var(--accent-soft); }
.cloud-key i { flex: none; width: .75rem; height: .75rem; border-radius: 50%; }
@media (max-width: 40rem) { .cloud-stage { height: 64vh; } .cloud-zoom { margin-left: 0; } }
@media print { .cloud-bar, .cloud-key { display: none; } }
`
