import { byId } from './dom.ts'
import { duration } from './format.ts'

const section = byId('progress', HTMLElement)
const phase = byId('phase', HTMLElement)
const bar = byId('bar', HTMLProgressElement)
const pace = byId('pace', HTMLElement)
const spoken = byId('spoken', HTMLElement)

/** Shares of a phase that are spoken to those who listen to the page. */
const SPOKEN_SHARE = 0.25

let name = ''
let unit = ''
let total = 0
let begun = 0
let saidShare = 0

/** Shows a new phase of `total` units, such as pictures or steps; 0 when it can't be counted. */
export function beginPhase(phaseName: string, units: string, count: number): void {
  ;[name, unit, total, begun, saidShare] = [phaseName, units, count, performance.now(), 0]
  section.hidden = false
  phase.textContent = name
  say(name)
  if (count > 0) {
    bar.max = count
    advance(0)
  } else {
    bar.removeAttribute('value')
    pace.textContent = '\u00a0'
  }
}

/** Shows how far the phase is, how fast it goes, and when it will be done at this rate. */
export function advance(done: number): void {
  // What was begun may still report while the page already waits for it to stop.
  if (total === 0) return
  const seconds = (performance.now() - begun) / 1000
  const rate = done / seconds
  bar.value = done
  const parts = [`${done.toLocaleString('en')} of ${total.toLocaleString('en')} ${unit}`]
  if (seconds > 0.5 && done > 0) {
    parts.push(`${rate >= 10 ? Math.round(rate).toLocaleString('en') : rate.toFixed(1)} a second`)
    if (done < total) parts.push(`${duration((total - done) / rate)} left`)
  }
  pace.textContent = parts.join(' · ')
  const share = Math.floor(done / total / SPOKEN_SHARE)
  if (share > saidShare && done < total) {
    saidShare = share
    say(`${name}: ${parts.join(', ')}`)
  }
}

/** Hides the bar; `outcome` is spoken. */
export function endProgress(outcome: string): void {
  section.hidden = true
  say(outcome)
}

export function say(text: string): void {
  spoken.textContent = text
}
