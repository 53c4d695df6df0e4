import { layoutOf } from '../../kernels/distance.ts'
import { centreSplits, nearestCentreKernel } from '../../kernels/nearestCentre.ts'
import { mergeNearestKernel, nearestRowsKernel } from '../../kernels/nearestRows.ts'
import type { KernelVariant } from '../../kernels/kernel.ts'
import type { Device } from '../device.ts'
import { expect, expectShape } from '../shape.ts'
import { scope, type Tensor } from '../tensor.ts'

/** What a search gives, outside the tape: row numbers and their squared distances. */
export interface Nearest {
  readonly nearest: Tensor<'u32'>
  readonly squared: Tensor<'f32'>
}

export interface NearestCentreOptions {
  /** Sets of centres that are searched apart from each other. Default 1. */
  readonly restarts?: number
  /**
   * Goes on from an earlier search, in place: the centres given now are numbers `first`, … and replace
   * what is nearest there only when they are nearer.
   */
  readonly from?: Nearest & { readonly first: number }
  /** @internal */
  readonly variant?: KernelVariant
}

/**
 * The nearest of several centres for every row, ties to the lowest number, without storing the matrix
 * of distances; Euclidean, by sums of squared differences, so exact to about D·2⁻²⁴ relatively.
 *
 * @param x [N, D]
 * @param centres [restarts·K, D]
 * @returns number among the K and squared distance, each [N, restarts]
 */
export function nearestCentre(
  x: Tensor<'f32'>,
  centres: Tensor<'f32'>,
  { restarts = 1, from, variant = x.device.kernelVariant }: NearestCentreOptions = {},
): Nearest {
  const { device } = x
  const [rows, dimension] = matrix('nearestCentre', 'x', x)
  const [all, width] = matrix('nearestCentre', 'centres', centres)
  expect(width === dimension, 'nearestCentre', () => {
    return `centres ${centres.toString()} have ${width} columns, x ${x.toString()} has ${dimension}`
  })
  expect(
    Number.isInteger(restarts) && restarts > 0 && all % restarts === 0,
    'nearestCentre',
    () => `${all} centres don't divide into ${restarts} restarts`,
  )
  const k = all / restarts
  if (from) {
    expectShape('nearestCentre', 'from.nearest', from.nearest.shape, [rows, restarts])
    expectShape('nearestCentre', 'from.squared', from.squared.shape, [rows, restarts])
    expect(Number.isInteger(from.first) && from.first > 0, 'nearestCentre', () => {
      return `from.first is ${from.first}, expected the number of centres searched before`
    })
  }
  const found = from ?? {
    nearest: device.empty([rows, restarts], 'u32'),
    squared: device.empty([rows, restarts]),
  }
  const { nearest, squared } = found
  device.dispatch(
    nearestCentreKernel({ variant }),
    { x, y: centres, nearest, squared },
    {
      rows,
      dimension,
      restarts,
      k,
      first: from?.first ?? 0,
      splits: centreSplits(variant, restarts, k),
    },
  )
  return { nearest, squared }
}

export interface NearestRowsOptions {
  /** Rows to find for each, 1 to {@link MAX_NEAREST}. */
  readonly k: number
  /** For x a part of y that starts at this row: leaves each row itself out. */
  readonly self?: number
  /** @internal */
  readonly variant?: KernelVariant
}

/** Most neighbours of a row; their lists are kept by insertion. */
export const MAX_NEAREST = 128

/**
 * The k nearest rows of y for every row of x, ascending, ties to the lowest number, without storing
 * the matrix of distances; accurate as {@link nearestCentre}. For rows of length 1 the order is that
 * of their cosines.
 *
 * @param x [N, D]
 * @param y [M, D], or its parts when all of it doesn't fit one binding, each [Mᵢ, D]
 * @returns numbers of rows of y and squared distances, each [N, k]; where fewer than k rows are found
 *   (others are NaN or infinitely far), 2³² − 1 and 3.4e38
 */
export function nearestRows(
  x: Tensor<'f32'>,
  y: Tensor<'f32'> | readonly Tensor<'f32'>[],
  { k, self, variant = x.device.kernelVariant }: NearestRowsOptions,
): Nearest {
  const { device } = x
  const parts = Array.isArray(y) ? (y as readonly Tensor<'f32'>[]) : [y as Tensor<'f32'>]
  const [rows, dimension] = matrix('nearestRows', 'x', x)
  let total = 0
  for (const part of parts) {
    const [height, width] = matrix('nearestRows', 'y', part)
    expect(width === dimension, 'nearestRows', () => {
      return `y ${part.toString()} has ${width} columns, x ${x.toString()} has ${dimension}`
    })
    total += height
  }
  const most = Math.min(MAX_NEAREST, self === undefined ? total : total - 1)
  expect(Number.isInteger(k) && k >= 1 && k <= most, 'nearestRows', () => {
    return `k is ${k}, expected 1 to ${most}: at most ${MAX_NEAREST}, and no more than there are rows`
  })
  const splits = rowSplits(device, variant, rows, k)
  const search = (lists: Nearest): void => {
    let first = 0
    for (const part of parts) {
      const width = part.shape[0]!
      device.dispatch(
        nearestRowsKernel({ variant }),
        { x, y: part, ...lists },
        {
          rows,
          width,
          dimension,
          k,
          first,
          own: self ?? 0,
          others: self === undefined ? 0 : 1,
          resume: first > 0 ? 1 : 0,
          splits,
        },
      )
      first += width
    }
  }
  const out = { nearest: device.empty([rows, k], 'u32'), squared: device.empty([rows, k]) }
  if (splits === 1) {
    search(out)
    return out
  }
  scope(() => {
    const shape = [splits, rows, k]
    const lists = { nearest: device.empty(shape, 'u32'), squared: device.empty(shape) }
    search(lists)
    device.dispatch(
      mergeNearestKernel,
      { nearestParts: lists.nearest, squaredParts: lists.squared, ...out },
      { rows, k, splits },
    )
  })
  return out
}

/** Workgroups that keep a large GPU busy. */
const BUSY = 2048

/** Parts of y: enough workgroups for a GPU, lists that fit one binding, and one on a CPU. */
function rowSplits(device: Device, variant: KernelVariant, rows: number, k: number): number {
  if (variant !== 'tile') return 1
  const wanted = Math.ceil(BUSY / Math.ceil(rows / layoutOf(variant).height))
  const fitting = Math.floor(device.limits.maxStorageBufferBindingSize / (rows * k * 4))
  return Math.max(1, Math.min(wanted, fitting, 32))
}

function matrix(op: string, name: string, { shape, dtype }: Tensor): [number, number] {
  expect(shape.length === 2 && dtype === 'f32', op, () => {
    return `${name} is ${dtype}[${shape.join(', ')}], expected f32[rows, columns]`
  })
  return shape as unknown as [number, number]
}
