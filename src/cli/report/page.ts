import { createHash } from 'node:crypto'
import { markup, raw, type Html, type HtmlValue } from './html.ts'
import { style } from './style.ts'

export interface PageParts {
  readonly title: string
  /** One line below the title. */
  readonly subtitle: string
  /** What stands out, with what is wrong marked. */
  readonly figures?: readonly (readonly [name: string, value: string, warn?: boolean])[]
  readonly main: HtmlValue
  /** Trusted text of the page's one script, which its policy allows by hash. */
  readonly script?: string
}

/**
 * One HTML file that needs no other file and no network: pictures are data URIs, the style sheet and a
 * script are inline, and a content security policy allows just these.
 */
export function renderPage({ title, subtitle, figures = [], main, script }: PageParts): string {
  const policy =
    `default-src 'none'; img-src data:; style-src '${hashOf(style)}'; ` +
    (script === undefined ? '' : `script-src '${hashOf(script)}'; `) +
    "base-uri 'none'; form-action 'none'"
  return markup`<!doctype html>
    <html lang="en">
      <head>
        <meta http-equiv="Content-Security-Policy" content="${raw(policy)}" />
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <title>${title} · Keeplight</title>
        <link rel="icon" href="data:," />
        ${raw(`<style>${style}</style>`)}
      </head>
      <body>
        <header>
          <p class="brand">Keeplight</p>
          <h1>${title}</h1>
          <p class="lead">${subtitle}</p>
          ${figures.length > 0 && keyFigures(figures)}
        </header>
        <main>${main}</main>
        <footer>
          Made by Keeplight on this machine; this file holds everything that it shows.
        </footer>
        ${script !== undefined && raw(`<script>${script}</script>`)}
      </body>
    </html>
`.text
}

/** How a content security policy names an inline text. */
function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

function keyFigures(figures: NonNullable<PageParts['figures']>): Html {
  return markup`<dl class="figures">
    ${figures.map(
      ([name, value, warn]) =>
        markup`<div class="${warn ? 'warn' : ''}">
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`
}
