import { describe, expect, it } from 'vitest'
import numerics from '../../docs/numerics.md?raw'
import * as ops from '../../src/runtime/ops/index.ts'
import { useDevice } from '../support/device.ts'
import { GRADIENT_TOLERANCE, TOLERANCE } from './case.ts'
import { catalogue, titleOf } from './index.ts'
import { measure, type Measured } from './measure.ts'
import { adapterName, DRIFT, NOISE, sectionsOf, statedBy } from './numericsDoc.ts'
import { poisonDevice } from './poison.ts'
import { replays } from './replay.ts'
import { hashCatalogue, runCase } from './run.ts'

/** Of a plan with the first case of every op: they must all give one hash. */
const REPLAYS = 100

describe('every op of the catalogue', () => {
  const device = useDevice()
  let hashes: Record<string, string>
  const measured = new Map<string, Measured>()

  it('is a public op, and every public op is there', () => {
    const functions = Object.entries(ops).filter(([, value]) => typeof value === 'function')
    const named = new Set(catalogue.map(({ op }) => op))
    expect([...named].sort()).toEqual(functions.map(([name]) => name).sort())
    expect(new Set(catalogue.map(titleOf)).size).toBe(catalogue.length)
  })

  it('is right to its tolerance, and so are its gradients', async () => {
    const before = device().stats().usedBytes
    for (const opCase of catalogue) {
      const errors = measure(opCase, await runCase(device(), opCase))
      measured.set(titleOf(opCase), errors)
      const { out, gradient } = errors
      const { tolerance = TOLERANCE, gradientTolerance = GRADIENT_TOLERANCE } = opCase
      expect(out.max, titleOf(opCase)).toBeLessThanOrEqual(tolerance)
      expect(gradient?.max ?? 0, `${titleOf(opCase)}: gradient`).toBeLessThanOrEqual(
        gradientTolerance,
      )
    }
    expect(device().stats().usedBytes, 'bytes left in use').toBe(before)
  })

  it('is in docs/numerics.md for every adapter there, no better than it is', () => {
    const sections = sectionsOf(numerics)
    expect([...sections.keys()]).toEqual(expect.arrayContaining(['SwiftShader', 'lavapipe']))
    for (const [adapter, text] of sections) {
      expect([...statedBy(text).keys()].sort(), adapter).toEqual(catalogue.map(titleOf).sort())
    }
    const stated = statedBy(sections.get(adapterName(device().adapter)) ?? '')
    for (const [title, { out, gradient }] of measured) {
      const { max, gradient: slope = 0 } = stated.get(title)!
      const bound = (error: number): number => Math.max(DRIFT * error, NOISE)
      expect(out.max, title).toBeLessThanOrEqual(bound(max))
      expect(gradient?.max ?? 0, `${title}: gradient`).toBeLessThanOrEqual(bound(slope))
    }
  })

  it('has the same bits twice', async () => {
    hashes = await hashCatalogue(device())
    expect(await hashCatalogue(device())).toEqual(hashes)
  })

  it.each(['NaN', 42] as const)(
    'has the same bits in memory full of %s, and writes nowhere else',
    async (poison) => {
      const poisoned = poisonDevice(device(), poison)
      try {
        expect(await hashCatalogue(device())).toEqual(hashes)
        // Every op but a reshape makes at least its output.
        expect(poisoned.frames).toBeGreaterThan(catalogue.length)
        await poisoned.check()
      } finally {
        poisoned.restore()
      }
    },
  )

  it('has the same bits in every replay of a plan', async () => {
    const before = device().stats().usedBytes
    const firsts = catalogue.filter(({ op }, i) => catalogue[i - 1]?.op !== op)
    const others = catalogue.filter((opCase) => !firsts.includes(opCase))
    for (const [cases, count] of [
      [firsts, REPLAYS],
      [others, 2],
    ] as const) {
      const found = await replays(device(), cases, count)
      cases.forEach((opCase, i) => {
        expect([...found[i]!], titleOf(opCase)).toEqual([hashes[titleOf(opCase)]])
      })
    }
    expect(device().stats().usedBytes, 'bytes left in use').toBe(before)
  })
})
