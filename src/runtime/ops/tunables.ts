import { attentionKernel } from '../../kernels/attention.ts'
import { matmulKernel, type MatmulStorage } from '../../kernels/matmul.ts'
import type { KernelVariant } from '../../kernels/kernel.ts'
import type { Device } from '../device.ts'
import type { FloatDtype } from '../dtype.ts'
import { keep, scope, type Tensor } from '../tensor.ts'
import { randomTensor, type TunableFamily } from '../tunable.ts'
import { attentionPacked } from './attention.ts'
import { attentionChoice, type AttentionProblem } from './attentionChoice.ts'
import { toF16, toF32 } from './cast.ts'
import { matmulChoice, planOf, type MatmulProblem } from './matmulChoice.ts'
import { matmulInto } from './matmulInto.ts'
import { quantize } from './quantize.ts'

/** Sums of products in f32 in any order: far above what rounding does, far below a wrong element. */
const F32 = 1e-4
/** Results rounded to 11 bits. */
const F16 = 2e-3

interface Operand {
  readonly tensor: Tensor<FloatDtype | 'i8'>
  readonly scales?: Tensor<'f32'>
}

function operand(
  device: Device,
  shape: readonly number[],
  dtype: MatmulStorage,
  first: number,
): Operand {
  return scope(() => {
    const values = randomTensor(device, shape, first)
    if (dtype === 'f32') return { tensor: keep(values) }
    if (dtype === 'f16') return { tensor: keep(toF16(values)) }
    const { values: tensor, scales } = quantize(values)
    return { tensor: keep(tensor), scales: keep(scales) }
  })
}

export const matmulTunable: TunableFamily<MatmulProblem> = {
  choice: matmulChoice,
  trial(problem, device) {
    const { m, n, k, batch, transposeA, transposeB, a, b, out } = problem
    // An int8 weight is one matrix, which the batch shares.
    const shared = b === 'i8' && batch > 1 ? 'b' : undefined
    const matrix = (rows: number, columns: number): [number, number] => [rows, columns]
    const [rowsB, columnsB] = transposeB ? matrix(n, k) : matrix(k, n)
    const left = operand(device, transposeA ? [batch, k, m] : [batch, m, k], a, 0)
    const count = shared ? 1 : batch
    const right = operand(device, [count * rowsB, columnsB], b, 1000)
    const layout = { transposeA, transposeB }
    return {
      tolerance: out === 'f16' ? F16 : F32,
      run: () => {
        const product = matmulInto(
          device.empty([batch, m, n], out),
          left.tensor as Tensor<FloatDtype>,
          right.tensor,
          layout,
          { m, n, k, batch, shared },
          right.scales ? { scales: right.scales } : {},
        )
        return out === 'f16' ? toF32(product as Tensor<'f16'>) : (product as Tensor<'f32'>)
      },
      dispose() {
        for (const { tensor, scales } of [left, right]) {
          tensor.dispose()
          scales?.dispose()
        }
      },
    }
  },
  // On CPU rasterisers tiles in workgroup memory lose by a factor of five, and compile for seconds.
  worthwhile: (names, { kernelVariant }) =>
    kernelVariant === 'tile' ? names : names.filter((name) => name.startsWith('subgroup')),
  kernels(device) {
    const sizes = { m: 64, n: 64, k: 64, batch: 1 }
    const storage = { a: 'f32', b: 'f32', out: 'f32' } as const
    const plain = { bias: false, activation: 'none', layerScale: false, residual: false } as const
    const access = { nativeF16: false, quadsA: true, quadsB: true, partial: false }
    return ['NN', 'NT', 'TN'].flatMap((text) => {
      const layout = { transposeA: text[0] === 'T', transposeB: text[1] === 'T' }
      const names = matmulChoice.candidates({ ...sizes, ...layout, ...storage }, device)
      const variants = new Set(names.map((name) => planOf(name).variant))
      return Array.from(variants, (variant) =>
        matmulKernel({ ...layout, ...storage, ...plain, ...access, variant }),
      )
    })
  },
}

export const attentionTunable: TunableFamily<AttentionProblem> = {
  choice: attentionChoice,
  trial({ batches, heads, tokens, headSize, causal }, device) {
    const qkv = randomTensor(device, [batches, tokens, 3 * heads * headSize])
    return {
      tolerance: F32,
      run: () => attentionPacked(qkv, { heads, causal }),
      dispose: () => qkv.dispose(),
    }
  },
  kernels(device) {
    const size = { batches: 1, heads: 1, tokens: 64, headSize: 64, causal: false }
    return attentionChoice.candidates(size, device).map((name) => {
      const variant = name as KernelVariant
      return attentionKernel({ headSize: 64, causal: false, logSumExp: false, variant })
    })
  },
}

/** Families that {@link tune} knows. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each with problems of its own
export const tunableFamilies: readonly TunableFamily<any>[] = [matmulTunable, attentionTunable]
