import { range } from './template.ts'

/**
 * A walk through a dense array in steps of equal length, along with the place of each element in other
 * arrays that have a stride for each dimension. Coordinates are carried along: an integer division costs
 * a software adapter as much as two loads, and is no cheaper than several additions on a GPU.
 */

/** The sizes that a walk of `rank` dimensions reads: of all dimensions but the first, `d1` onward. */
const inner = (rank: number): number[] => range(rank).slice(1)

/** Names of the parameters that every array shares: sizes, and the coordinates of a step. */
export const walkParams = (rank: number): string[] => inner(rank).flatMap((d) => [`d${d}`, `e${d}`])

/** Names of the parameters of one array: a stride a dimension, a step's length, what a carry adds. */
export const placeParams = (name: string, rank: number): string[] => [
  ...range(rank).map((d) => `${name}${d}`),
  `${name}Step`,
  ...inner(rank).map((d) => `${name}Carry${d}`),
]

const word = (value: number): number => value >>> 0

/** Values of {@link walkParams} for steps of `step` elements. */
export function walkValues(shape: readonly number[], step: number): Record<string, number> {
  const values: Record<string, number> = {}
  coordinatesOf(step, shape).forEach((coordinate, d) => {
    if (d > 0) Object.assign(values, { [`d${d}`]: shape[d]!, [`e${d}`]: coordinate })
  })
  return values
}

/** Values of {@link placeParams}. A carry out of dimension d takes its size back and adds one before it. */
export function placeValues(
  name: string,
  shape: readonly number[],
  strides: readonly number[],
  step: number,
): Record<string, number> {
  const values: Record<string, number> = {}
  const forward = coordinatesOf(step, shape).reduce((sum, c, d) => sum + c * strides[d]!, 0)
  values[`${name}Step`] = word(forward)
  strides.forEach((stride, d) => {
    values[`${name}${d}`] = stride
    if (d > 0) values[`${name}Carry${d}`] = word(strides[d - 1]! - shape[d]! * stride)
  })
  return values
}

/** Coordinates of a dense index; the first is not bounded by its size. */
function coordinatesOf(index: number, shape: readonly number[]): number[] {
  const coordinates = shape.map(() => 0)
  let rest = index
  for (let d = shape.length - 1; d > 0; d--) {
    coordinates[d] = rest % shape[d]!
    rest = Math.floor(rest / shape[d]!)
  }
  if (coordinates.length > 0) coordinates[0] = rest
  return coordinates
}

/** WGSL that declares the coordinates of element `index`, and `<name>At`, its place in each array. */
export const walkFrom = (index: string, names: readonly string[], rank: number): string => {
  const reversed = [...inner(rank)].reverse()
  return [
    `var rest = ${index};`,
    ...reversed.map(
      (d) =>
        `let q${d} = rest / params.d${d}; var c${d} = rest - q${d} * params.d${d}; rest = q${d};`,
    ),
    ...names.map((name) => {
      const terms = inner(rank).map((d) => ` + c${d} * params.${name}${d}`)
      return `var ${name}At = rest * params.${name}0${terms.join('')};`
    }),
  ].join('\n  ')
}

/** WGSL that goes on by a step. */
export const walkOn = (names: readonly string[], rank: number): string => {
  const reversed = [...inner(rank)].reverse()
  return [
    ...names.map((name) => `${name}At += params.${name}Step;`),
    ...reversed.map((d) => {
      const carry = d === rank - 1 ? '' : ` + select(0u, 1u, over${d + 1})`
      return [
        `c${d} += params.e${d}${carry};`,
        `let over${d} = c${d} >= params.d${d};`,
        `c${d} -= select(0u, params.d${d}, over${d});`,
        ...names.map((name) => `${name}At += select(0u, params.${name}Carry${d}, over${d});`),
      ].join(' ')
    }),
  ].join('\n    ')
}
