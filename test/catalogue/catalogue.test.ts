import { describe, expect, it } from 'vitest'
import * as ops from '../../src/runtime/ops/index.ts'
import { useDevice } from '../support/device.ts'
import { catalogue, titleOf } from './index.ts'
import { hashCatalogue } from './run.ts'

describe('the op catalogue', () => {
  const device = useDevice()

  it('has a case of every public op, and a name for each', () => {
    const named = new Set(catalogue.map(({ op }) => op))
    expect([...named].sort()).toEqual(Object.keys(ops).sort())
    expect(new Set(catalogue.map(titleOf)).size).toBe(catalogue.length)
  })

  it('has the same bits twice', async () => {
    const before = device().stats().usedBytes
    const first = await hashCatalogue(device())
    expect(await hashCatalogue(device())).toEqual(first)
    expect(device().stats().usedBytes, 'bytes left in use').toBe(before)
  })
})
