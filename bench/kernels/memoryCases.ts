import {
  add,
  argmax,
  concat,
  gelu,
  max,
  permute,
  scatterAdd,
  slice,
  softplus,
  square,
  sum,
  tanh,
  type Tensor,
} from '../../src/index.node.ts'
import type { KernelCase } from './cases.ts'

type F32 = Tensor<'f32'>

/** An op on one matrix that reads it and writes `share` of its size. */
function single(
  kernel: string,
  rows: number,
  columns: number,
  op: (x: F32) => unknown,
  share = 1,
): KernelCase {
  return {
    kernel,
    shape: `${rows}×${columns}`,
    use: 'memory-bound op',
    bytes: (1 + share) * rows * columns * 4,
    prepare({ random }) {
      const x = random([rows, columns])
      return () => op(x)
    },
  }
}

/** Elementwise ops, reductions and layout ops at the activations of a ViT. */
export function memoryCases(rows: number, columns: number): KernelCase[] {
  const matrix = rows * columns * 4
  const shape = `${rows}×${columns}`
  const use = 'memory-bound op'
  return [
    single('square', rows, columns, square),
    single('tanh', rows, columns, tanh),
    single('softplus', rows, columns, softplus),
    single('gelu', rows, columns, gelu),
    {
      kernel: 'add',
      shape,
      use,
      bytes: 3 * matrix,
      prepare({ random }) {
        const [a, b] = [random([rows, columns]), random([rows, columns])]
        return () => add(a, b)
      },
    },
    {
      kernel: 'add row',
      shape,
      use,
      bytes: 2 * matrix,
      prepare({ random }) {
        const [a, b] = [random([rows, columns]), random([columns])]
        return () => add(a, b)
      },
    },
    single('sum all', rows, columns, (x) => sum(x), 0),
    single('sum columns', rows, columns, (x) => sum(x, 'columns'), 0),
    single('sum rows', rows, columns, (x) => sum(x, 'rows'), 0),
    single('max columns', rows, columns, (x) => max(x, { axes: 1 }), 0),
    single('argmax columns', rows, columns, (x) => argmax(x, { axis: 1 }), 0),
    single('transpose', rows, columns, (x) => permute(x, [1, 0])),
    {
      kernel: 'permute heads',
      shape: `${rows / 8}×8×4×${columns / 4}`,
      use,
      bytes: 2 * matrix,
      prepare({ random }) {
        const x = random([rows / 8, 8, 4, columns / 4])
        return () => permute(x, [0, 2, 1, 3])
      },
    },
    single('slice half', rows, columns, (x) => slice(x, [0, 0], [rows, columns / 2]), 0),
    {
      kernel: 'concat',
      shape,
      use,
      bytes: 4 * matrix,
      prepare({ random }) {
        const [a, b] = [random([rows, columns]), random([rows, columns])]
        return () => concat([a, b], 1)
      },
    },
    {
      kernel: 'scatterAdd',
      shape: `${rows} into ${rows / 4}×${columns}`,
      use,
      bytes: 1.5 * matrix,
      prepare({ random, integers }) {
        const [x, source] = [random([rows / 4, columns]), random([rows, columns])]
        const index = integers([rows], rows / 4)
        return () => scatterAdd(x, index, source)
      },
    },
  ]
}
