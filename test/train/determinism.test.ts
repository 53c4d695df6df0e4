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

  it('has the same bits twice, and others from another seed', async () => {
    const first = await smallRun(device(), model)
    expect(first.losses).toHaveLength(12)
    expect(first.losses.every(Number.isFinite)).toBe(true)
    const [one, other] = first.restarts
    expect(one).not.toBe(other)
    expect(first.streamed).toBe(first.resident)
    expect(first.online).not.toBe(first.resident)
    expect(await smallRun(device(), model)).toEqual(first)
  })
})
