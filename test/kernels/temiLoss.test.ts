import { describe, expect, it } from 'vitest'
import { temiLoss } from '../../src/runtime/ops/temiLoss.ts'
import { sum } from '../../src/runtime/ops/reduce.ts'
import { multiply } from '../../src/runtime/ops/elementwise.ts'
import { backward } from '../../src/runtime/tape.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { temiLoss as reference, type TemiConstants } from '../reference/temiLoss.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'

const CONSTANTS = { temperature: 0.1, teacherTemperature: 0.1, beta: 0.6, momentum: 0.9 }

describe('temiLoss', () => {
  const device = useDevice()

  interface Case {
    readonly runs: number
    readonly heads: number
    readonly batch: number
    readonly clusters: number
    readonly constants?: TemiConstants
    readonly student?: Float32Array
    readonly teacher?: Float32Array
  }

  /** Runs the op on logits of cosines and compares losses and marginals with f64 loops. */
  async function check({ runs, heads, batch, clusters, constants = CONSTANTS, ...given }: Case) {
    const shape = [runs, heads, 2 * batch, clusters]
    const size = runs * heads * 2 * batch * clusters
    const { student = randomArray(size, 1), teacher = randomArray(size, 2) } = given
    const before = randomArray(runs * heads * clusters, 3).map((x) => (2 + x) / (2 * clusters))
    const marginals = device().tensor(before, [runs, heads, clusters])
    const leaf = device().tensor(student as Float32Array<ArrayBuffer>, shape)
    leaf.requiresGrad = true
    const fixed = device().tensor(teacher as Float32Array<ArrayBuffer>, shape)
    const { total, losses } = temiLoss(leaf, fixed, marginals, constants)
    const sizes = { heads: runs * heads, perRun: heads, batch, clusters }
    const f64 = (logits: ArrayLike<number>) => reference(logits, teacher, before, sizes, constants)
    const expected = f64(student)
    const name = `${shape.join('×')}`
    expectClose(`${name}, losses`, await losses.read(), expected.losses, 1e-5)
    expectClose(`${name}, marginals`, await marginals.read(), expected.marginals, 1e-5)
    const totals = (values: ArrayLike<number>): number[] =>
      Array.from({ length: runs }, (_, r) =>
        Array.from(values)
          .slice(r * heads, (r + 1) * heads)
          .reduce((a, b) => a + b / heads, 0),
      )
    expectClose(`${name}, total`, await total.read(), totals(expected.losses), 1e-5)
    return { leaf, total, student, losses: (at: ArrayLike<number>) => totals(f64(at).losses) }
  }

  it.each([
    [1, 1, 1, 2],
    [1, 2, 31, 15],
    [2, 3, 32, 16],
    [1, 2, 33, 17],
    [1, 1, 255, 3],
    [1, 1, 257, 33],
    [3, 1, 40, 100],
  ])('equals f64 loops: %i runs of %i heads, batch %i, %i clusters', async (...sizes) => {
    const [runs, heads, batch, clusters] = sizes
    await check({ runs, heads, batch, clusters })
  })

  it('has the gradient of finite differences, each run times what flows into it', async () => {
    const constants = { temperature: 0.3, teacherTemperature: 0.2, beta: 0.7, momentum: 0.5 }
    const sizes = { runs: 2, heads: 2, batch: 3, clusters: 4, constants }
    const { leaf, total, student, losses } = await check(sizes)
    const flow = [0.5, -2]
    const loss = sum(multiply(total, device().tensor(Float32Array.from(flow), [2])))
    const [gradient] = backward(loss, [leaf]) as [Tensor<'f32'>]
    const moved = Float64Array.from(student)
    const numeric = moved.map((value, i) => {
      const at = (z: number): number => {
        moved[i] = z
        const [first, second] = losses(moved) as [number, number]
        moved[i] = value
        return flow[0]! * first + flow[1]! * second
      }
      return (at(value + 1e-5) - at(value - 1e-5)) / 2e-5
    })
    expectClose('dStudent', await gradient.read(), numeric, 1e-4)
  })

  it('has them as the root of a backward pass', async () => {
    const { leaf, total, student, losses } = await check({
      runs: 1,
      heads: 2,
      batch: 2,
      clusters: 3,
    })
    const [gradient] = backward(total, [leaf]) as [Tensor<'f32'>]
    const direction = randomArray(student.length, 9)
    const at = (step: number): number =>
      losses(Float64Array.from(student, (x, i) => x + step * direction[i]!))[0]!
    const actual = (await gradient.read()).reduce((dot, g, i) => dot + g * direction[i]!, 0)
    expect(actual).toBeCloseTo((at(1e-5) - at(-1e-5)) / 2e-5, 4)
  })

  it('stays finite when rows are saturated, agree or contradict', async () => {
    const logits = Float32Array.from([1e3, -1e3, 0, -1e3, 1e3, 0, 1e3, -1e3, 0, 1e3, -1e3, 0])
    const leaf = device().tensor(logits, [1, 1, 4, 3])
    leaf.requiresGrad = true
    const marginals = device().tensor(new Float32Array(3).fill(1 / 3), [1, 1, 3])
    const { total } = temiLoss(leaf, device().tensor(logits, [1, 1, 4, 3]), marginals)
    const [gradient] = backward(total, [leaf]) as [Tensor<'f32'>]
    const values = [...(await total.read()), ...(await gradient.read())]
    expect(values.every(Number.isFinite), values.join(' ')).toBe(true)
  })

  it('names what does not fit', () => {
    const four = (...shape: number[]): Tensor<'f32'> => device().empty(shape)
    const student = four(1, 2, 4, 3)
    expect(errorOf(() => temiLoss(student, four(1, 2, 4, 4), four(1, 2, 3))).message).toMatch(
      /teacher has shape .* expected/,
    )
    expect(errorOf(() => temiLoss(student, student, four(2, 3))).message).toMatch(/marginals/)
    expect(errorOf(() => temiLoss(four(4, 3), student, four(1))).message).toMatch(/\[R, N, 2B, K\]/)
    const options = { beta: 0 }
    expect(errorOf(() => temiLoss(student, student, four(1, 2, 3), options)).message).toMatch(
      /beta is 0/,
    )
  })
})
