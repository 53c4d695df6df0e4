/** Times the phases of a run. */
export class Stopwatch {
  /** Names and seconds of the phases so far. */
  readonly laps: { readonly name: string; readonly seconds: number }[] = []
  private last = performance.now()

  /** Ends a phase. */
  lap(name: string): void {
    const now = performance.now()
    this.laps.push({ name, seconds: (now - this.last) / 1000 })
    this.last = now
  }
}
