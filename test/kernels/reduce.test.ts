import { describe, it } from 'vitest'
import {
  LANES,
  LANES_CHUNK,
  SUM_CHUNK,
  sumChunksKernel,
  sumColumnsKernel,
  sumLanesKernel,
  sumRowsAloneKernel,
  sumRowsKernel,
} from '../../src/kernels/reduce.ts'
import { SUM_SEGMENT, sumMiddleKernel } from '../../src/kernels/sumMiddle.ts'
import { sum } from '../reference/reduce.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

const scale = 0.75

describe('sumRows and sumColumns', () => {
  const device = useDevice()

  async function check(rows: number, columns: number): Promise<void> {
    const data = randomArray(rows * columns, rows)
    const x = { data, shape: [rows, columns] }
    const params = { rows, columns, scale }
    const down = await runKernel(device(), sumRowsKernel, { x }, { out: [columns] }, params)
    const overRows = sum(data, columns, 'rows').map((total) => total * scale)
    expectClose(`sumRows ${rows}×${columns}`, down.out!, overRows, 2e-6)
    const vectors = columns % 4 === 0 ? [false, true] : [false]
    for (const vector of vectors) {
      const kernel = sumRowsAloneKernel({ vector })
      const alone = await runKernel(device(), kernel, { x }, { out: [columns] }, params)
      expectClose(`sumRows ${rows}×${columns}, alone`, alone.out!, overRows, 2e-6)
    }
    const overColumns = sum(data, columns, 'columns').map((total) => total * scale)
    for (const lanes of [1, 64] as const) {
      const kernel = sumColumnsKernel({ lanes, vector: columns % 4 === 0 })
      const across = await runKernel(device(), kernel, { x }, { out: [rows] }, params)
      expectClose(`sumColumns ${rows}×${columns}, ${lanes}`, across.out!, overColumns, 2e-6)
    }
  }

  it.each([1, 7, 8, 9, 28, 32, 36, 63, 64, 65, 300])(
    'equal f64 loops: %i columns',
    async (columns) => {
      await check(10, columns)
    },
  )

  it.each([1, 3, 4, 5, 7, 8, 9, 63, 64, 65, 255, 256, 257, 300])(
    'equal f64 loops: %i rows',
    async (rows) => {
      await check(rows, 10)
    },
  )
})

describe('sumChunks', () => {
  const device = useDevice()

  it.each([1, 63, 64, 65, SUM_CHUNK - 1, SUM_CHUNK, SUM_CHUNK + 1, 3 * SUM_CHUNK - 1])(
    'equals f64 loops: %i elements',
    async (size) => {
      const data = randomArray(size, 3)
      const chunks = Math.ceil(size / SUM_CHUNK)
      const { out } = await runKernel(
        device(),
        sumChunksKernel,
        { x: { data, shape: [size] } },
        { out: [chunks] },
        { size, scale },
      )
      const expected = Array.from({ length: chunks }, (_, i) => {
        const chunk = data.subarray(i * SUM_CHUNK, (i + 1) * SUM_CHUNK)
        return sum(chunk, chunk.length, 'all')[0]! * scale
      })
      expectClose(`${size}`, out!, expected, 2e-6)
    },
  )
})

describe('sumLanes', () => {
  const device = useDevice()

  it.each([1, 5, 32, 127, 128, 129, LANES_CHUNK - 1, LANES_CHUNK, LANES_CHUNK + 1, 20_003])(
    'equals f64 loops: %i elements',
    async (size) => {
      const data = randomArray(size, 3)
      const chunks = Math.ceil(size / LANES_CHUNK)
      const { out } = await runKernel(
        device(),
        sumLanesKernel,
        { x: { data, shape: [size] } },
        { out: [chunks * LANES] },
        { size, scale },
      )
      const expected = new Float64Array(chunks * LANES)
      data.forEach((value, i) => {
        const [chunk, within] = [Math.floor(i / LANES_CHUNK), Math.floor(i / 4)]
        // What is behind the last whole vec4 goes to the first thread.
        const lane = i < size - (size % 4) ? within % LANES : 0
        expected[chunk * LANES + lane]! += value * scale
      })
      expectClose(`${size}`, out!, expected, 2e-6)
    },
  )
})

describe('sumMiddle', () => {
  const device = useDevice()

  it.each([1, 3, 4, 5, 8])('equals f64 loops around a segment: inner %i', async (inner) => {
    const outer = 3
    for (const n of [1, 2, SUM_SEGMENT - 1, SUM_SEGMENT, SUM_SEGMENT + 1, 2 * SUM_SEGMENT + 5]) {
      const data = randomArray(outer * n * inner, 5)
      const segments = Math.ceil(n / SUM_SEGMENT)
      const expected = new Float64Array(outer * segments * inner)
      data.forEach((value, i) => {
        const [column, row] = [i % inner, Math.floor(i / inner)]
        const segment = Math.floor((row % n) / SUM_SEGMENT)
        expected[(Math.floor(row / n) * segments + segment) * inner + column]! += value * scale
      })
      const { out } = await runKernel(
        device(),
        sumMiddleKernel({ vector: inner % 4 === 0 }),
        { x: { data, shape: [outer, n, inner] } },
        { out: [outer, segments, inner] },
        { outer, n, inner, scale },
      )
      expectClose(`${outer}×${n}×${inner}`, out!, expected, 2e-6)
    }
  })
})
