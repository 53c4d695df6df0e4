import { resolve } from 'node:path'
import { expect, it } from 'vitest'
import { faults } from '../faults/faults.mjs'
import { SHARE, doesApply, readVerdicts, titleOf } from '../faults/verdicts.mjs'

/** `npm run test:faults` is long; these are quick, and tell when it must be run again. */

const root = resolve(import.meta.dirname, '../..')
const titles = faults.map(titleOf)

it('every seeded fault still applies to the kernels, exactly once', () => {
  expect(faults.filter((fault) => !doesApply(fault, root)).map(titleOf)).toEqual([])
  expect(new Set(titles).size).toBe(titles.length)
})

it('every seeded fault has a verdict, and enough of them are caught', () => {
  const verdicts = readVerdicts()
  // What is missing here: npm run test:faults -- --only "words of its name"
  expect(Object.keys(verdicts)).toEqual(titles)
  const caught = titles.filter((title) => verdicts[title].verdict === 'caught')
  expect(caught.length).toBeGreaterThanOrEqual(SHARE * titles.length)
})
