/** Text that is already HTML. Only {@link markup} and {@link raw} make it. */
export class Html {
  constructor(readonly text: string) {}
}

export type HtmlValue = Html | string | number | undefined | false | readonly HtmlValue[]

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Makes text safe between tags and within quoted attributes. */
export function escapeHtml(text: string): string {
  // Control characters are not allowed in HTML, and have no look that could be kept.
  // eslint-disable-next-line no-control-regex
  return text.replace(/[&<>"']/g, (c) => entities[c]).replace(/[\u0000-\u001f\u007f]/g, '\ufffd')
}

/**
 * A template of HTML that escapes whatever is put into it, other HTML aside: forgetting to escape a file
 * name is not possible. Attribute values must be quoted in the template.
 */
export function markup(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(parts.reduce((text, part, i) => text + render(values[i - 1]) + part))
}

/** Marks trusted text as HTML; for the style sheet and the outer frame only. */
export function raw(text: string): Html {
  return new Html(text)
}

function render(value: HtmlValue): string {
  if (value === undefined || value === false) return ''
  if (value instanceof Html) return value.text
  if (typeof value === 'object') return value.map(render).join('')
  return escapeHtml(String(value))
}

/** A relative path as the address of a link: no part of it can become a scheme or a query. */
export function hrefOf(relativePath: string): string {
  const parts = relativePath.split('/').map((part) => encodeURIComponent(toWellFormed(part)))
  return `./${parts.join('/')}`
}

/** Lone surrogates, which encodeURIComponent refuses, become the replacement character. */
function toWellFormed(text: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(text))
}

/** The address of a picture that lies in the page itself. */
export const webpAddress = (bytes: Uint8Array): Html =>
  raw(`data:image/webp;base64,${Buffer.from(bytes).toString('base64')}`)
