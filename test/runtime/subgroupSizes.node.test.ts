import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { adapterEnvironment, findLavapipeIcd, findSwiftshaderIcd } from '../../scripts/adapters.mjs'
import type { AdapterDescription } from '../../src/runtime/adapter.ts'
import type { ShapesResult } from '../support/matmulShapes.ts'

/**
 * The products of `ops/matmulShapes.test.ts` with every number of lanes that an adapter has, and with
 * no subgroups at all. Lavapipe's lanes are its vectors' words, which an environment variable sets, 64
 * to 1024 bits; SwiftShader has 4 always. Both stand for GPUs whose subgroups are of other sizes.
 *
 * Here at the shapes of few multiply-adds, and without the 8 lanes of the project `lavapipe`, which takes
 * them all; `npm run test:full` does so for every number of lanes, and adds SwiftShader without
 * subgroups, where compiling the tiles takes half a minute.
 */

const root = resolve(import.meta.dirname, '../..')
const full = process.env.KEEPLIGHT_FULL === '1'
const work = full ? 2 ** 21 : 2 ** 16

interface Result extends ShapesResult, AdapterDescription {
  readonly features: readonly string[]
  readonly kernelVariant: string
}

/** A process of its own, because a driver reads its environment once. */
async function multiply(icd: string, bits?: number, without = ''): Promise<Result> {
  const script = join(root, 'test/support/matmulShapes.node.ts')
  const env: NodeJS.ProcessEnv = { ...process.env, ...adapterEnvironment(icd) }
  if (bits) env.LP_NATIVE_VECTOR_WIDTH = String(bits)
  const args = ['--import', 'tsx', script, String(work), without]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env })
  return JSON.parse(stdout) as Result
}

function expectRight({ wrong, shapes, worst }: Result): void {
  expect(wrong).toEqual([])
  expect(shapes).toBe(full ? 300 : 124)
  expect(worst.f32).toBeGreaterThan(0)
  expect(worst.f16).toBeGreaterThan(1e-9)
}

// Most of the time goes into starting and compiling, on one core each.
describe('matmul is right', { timeout: full ? 600_000 : 120_000 }, () => {
  const lavapipe = findLavapipeIcd()!

  it.concurrent.each([
    [2, 'tile'],
    [4, 'subgroup4'],
    ...(full ? ([[8, 'subgroup8']] as const) : []),
    [16, 'tile'],
    [32, 'tile'],
  ] as const)('with %i lanes a subgroup on lavapipe', async (lanes, variant) => {
    const result = await multiply(lavapipe, 32 * lanes)
    expect(result).toMatchObject({ subgroupSize: lanes, kernelVariant: variant })
    expectRight(result)
  })

  it.concurrent('without subgroups on lavapipe', async () => {
    const result = await multiply(lavapipe, undefined, 'subgroups')
    expect(result.features).not.toContain('subgroups')
    expect(result.kernelVariant).toBe('tile')
    expectRight(result)
  })

  if (full) {
    it.concurrent('with 4 lanes, and without subgroups, on SwiftShader', async () => {
      const icd = findSwiftshaderIcd()!
      const four = await multiply(icd)
      expect(four).toMatchObject({ architecture: 'swiftshader', kernelVariant: 'subgroup4' })
      expectRight(four)
      const none = await multiply(icd, undefined, 'subgroups')
      expect(none.features).not.toContain('subgroups')
      expect(none.kernelVariant).toBe('tile')
      expectRight(none)
    })
  }
})
