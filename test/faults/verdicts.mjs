/**
 * What came of seeding each fault, in `verdicts.json`, which `run.mjs` keeps.
 *
 * @typedef {object} Verdict
 * @property {'caught' | 'missed'} verdict
 * @property {string} adapter
 * @property {string} [by] the first test that failed
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { faults } from './faults.mjs'

/** Of all faults, what the tests must catch: 38 of 40. */
export const SHARE = 38 / 40

const file = join(import.meta.dirname, 'verdicts.json')

/** @type {(fault: Pick<import('./faults.mjs').Fault, 'file' | 'name'>) => string} */
export const titleOf = ({ file, name }) => `${file}: ${name}`

/**
 * Whether the text that a fault replaces is in its file exactly once.
 * @param {import('./faults.mjs').Fault} fault
 * @param {string} root of the checkout
 */
export function doesApply({ file, find }, root) {
  return readFileSync(join(root, 'src', file), 'utf8').split(find).length === 2
}

/** @returns {Record<string, Verdict>} */
export function readVerdicts() {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
}

/**
 * Writes them in the order of the list; those of faults that are no longer in it go.
 * @param {Readonly<Record<string, Verdict>>} verdicts
 */
export function writeVerdicts(verdicts) {
  const titles = faults.map(titleOf).filter((title) => verdicts[title])
  const kept = Object.fromEntries(titles.map((title) => [title, verdicts[title]]))
  writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`)
}
