let lastShown = 0
let lastLine = performance.now()

/** A line that rewrites itself on a terminal; a line a minute in a log. */
export function printProgress(what: string, done: number, total: number): void {
  const now = performance.now()
  if (!process.stderr.isTTY) {
    if (now - lastLine < 60_000) return
    lastLine = now
    process.stderr.write(`${what}: ${done} of ${total}\n`)
    return
  }
  if (done < total && now - lastShown < 200) return
  lastShown = now
  process.stderr.write(`\r\x1b[K${done < total ? `${what}: ${done} of ${total}` : ''}`)
}
