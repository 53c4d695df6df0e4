import { describe, expect, it } from 'vitest'
import { embedTokensKernel, embedTokensNormKernel } from '../../src/kernels/embedTokens.ts'
import { embedTokens } from '../reference/embedTokens.ts'
import { layerNorm } from '../reference/layerNorm.ts'
import { expectClose, hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel, type Operand } from '../support/kernels.ts'
import { layerNormKernel } from '../../src/kernels/layerNorm.ts'
import { randomArray } from '../support/random.ts'

describe('embedTokens', () => {
  const device = useDevice()

  it.each([
    [1, 1, 1, 1],
    [1, 1, 1, 32],
    [1, 2, 1, 21],
    [1, 4, 1, 13],
    [3, 4, 5, 5],
    [2, 3, 1, 64],
    [5, 2, 3, 65],
    [65, 1, 2, 4],
    [64, 2, 1, 3],
  ])(
    'equals f64 loops: batch %i, %i patches after %i other tokens of dimension %i',
    async (batch, n, prefixes, dimension) => {
      const tokens = prefixes + n
      const vector = dimension % 4 === 0
      const inputs: Record<string, Operand> = {
        patches: { data: randomArray(batch * n * dimension, 1), shape: [batch, n, dimension] },
        prefix: { data: randomArray(prefixes * dimension, 2), shape: [prefixes, dimension] },
        positions: { data: randomArray(tokens * dimension, 3), shape: [tokens, dimension] },
      }
      const { patches, prefix, positions } = inputs
      const expected = embedTokens(patches!.data, prefix!.data, positions!.data, dimension)
      const weight = { data: randomArray(dimension, 4), shape: [dimension] }
      const bias = { data: randomArray(dimension, 5), shape: [dimension] }
      const shape = [batch, tokens, dimension]
      const rows = { rows: batch * tokens, columns: dimension }
      for (const lanes of [1, 64] as const) {
        const options = { lanes, vector }
        const { out } = await runKernel(
          device(),
          embedTokensKernel(options),
          inputs,
          { out: shape },
          { batch, n, prefixes, dimension },
        )
        expectClose(`${lanes} lanes`, out!, expected, 1e-7)

        const eps = 1e-5
        const { out: normed } = await runKernel(
          device(),
          embedTokensNormKernel(options),
          { ...inputs, weight, bias },
          { out: shape },
          { ...rows, tokens, prefixes, eps },
        )
        const wanted = layerNorm(expected, weight.data, bias.data, eps)
        expectClose(`normed, ${lanes} lanes`, normed!, wanted, 2e-5)
        const composed = await runKernel(
          device(),
          layerNormKernel(options),
          { x: { data: out as Float32Array<ArrayBuffer>, shape }, weight, bias },
          { out: shape, statistics: [rows.rows, 2] },
          { ...rows, eps },
        )
        expect(hashBits(normed!), 'bits of the two in turn').toBe(hashBits(composed.out!))
      }
    },
  )
})
