import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DEFAULT_MODEL, type VisionModel } from '../../src/index.ts'
import { useDevice } from '../support/device.ts'
import { smallRun } from '../support/smallRun.ts'

describe('a whole small run', () => {
  const device = useDevice()
  let model: VisionModel

  beforeAll(async () => {
    const inNode = typeof window === 'undefined'
    const { loadModel } = inNode
      ? await import(/* @vite-ignore */ '../../src/loadModel.node.ts')
      : await import('../../src/loadModel.ts')
    model = await loadModel(DEFAULT_MODEL, { device: device() })
  })
  afterAll(() => model?.dispose())

  it('has the same bits for the same seed, and others for another', async () => {
    const first = await smallRun(device(), model, 5)
    expect(first.losses).toHaveLength(20)
    expect(first.losses.every(Number.isFinite)).toBe(true)
    expect(await smallRun(device(), model, 5)).toEqual(first)

    const other = await smallRun(device(), model, 6)
    expect(other.pixels).toBe(first.pixels)
    for (const stage of ['features', 'trace', 'head', 'probabilities'] as const) {
      expect(other[stage], stage).not.toBe(first[stage])
    }
  })
})
