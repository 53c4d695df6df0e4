import { describe, expect, it } from 'vitest'
import { addKernel, fillKernel, scaleByKernel, scaleKernel } from '../../src/kernels/elementwise.ts'
import { MAX_WORKGROUPS } from '../../src/kernels/kernel.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('elementwise kernels', () => {
  const device = useDevice()

  it.each([1, 2, 3, 4, 5, 1023, 1024, 1025, 2051])(
    'equal loops around a workgroup: %i elements',
    async (size) => {
      const operand = (seed: number) => ({ data: randomArray(size, seed), shape: [size] })
      const [a, b] = [operand(1), operand(2)]
      const factor = { data: Float32Array.of(-1.5), shape: [1] }
      const outputs = { out: [size] }
      const map = (value: (i: number) => number): number[] =>
        Array.from({ length: size }, (_, i) => Math.fround(value(i)))

      const fill = await runKernel(device(), fillKernel, {}, outputs, { size, value: 2.5 })
      expect([...fill.out!]).toEqual(map(() => 2.5))
      const scale = await runKernel(device(), scaleKernel, { x: a }, outputs, { size, scale: 0.25 })
      expect([...scale.out!]).toEqual(map((i) => 0.25 * a.data[i]!))
      const scaleBy = await runKernel(device(), scaleByKernel, { x: a, factor }, outputs, { size })
      expect([...scaleBy.out!]).toEqual(map((i) => -1.5 * a.data[i]!))
      const add = await runKernel(device(), addKernel, { a, b }, outputs, { size })
      expect([...add.out!]).toEqual(map((i) => a.data[i]! + b.data[i]!))
    },
  )

  it('spills workgroups into y past the limit of one dimension', () => {
    const size = 1024 * MAX_WORKGROUPS + 1
    const [x, y, z] = fillKernel.workgroups({ size, value: 0 })
    expect(x).toBeLessThanOrEqual(MAX_WORKGROUPS)
    expect([y, z]).toEqual([2, 1])
    expect(x * y * 1024).toBeGreaterThanOrEqual(size)
    expect(fillKernel.workgroups({ size: 1024 * MAX_WORKGROUPS, value: 0 })).toEqual([
      MAX_WORKGROUPS,
      1,
      1,
    ])
  })
})
