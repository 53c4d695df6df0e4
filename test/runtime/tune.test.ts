import { describe, expect, it } from 'vitest'
import { defineKernel, linearWorkgroups, mainWgsl, readWrite } from '../../src/kernels/kernel.ts'
import type { NotedProblem } from '../../src/runtime/choice.ts'
import type { Device } from '../../src/runtime/device.ts'
import { attentionPacked, linear, matmul } from '../../src/runtime/ops/index.ts'
import { attentionTunable, matmulTunable } from '../../src/runtime/ops/tunables.ts'
import { tune, type Measurement } from '../../src/runtime/tune.ts'
import { randomTensor, type TunableFamily } from '../../src/runtime/tunable.ts'
import { useDevice } from '../support/device.ts'

const device = useDevice()

const SIZE = 100

/** Kernels that fill their output with i + 1, and some that fail to. */
const bodies: Readonly<Record<string, string>> = {
  rule: 'f32(i + 1u)',
  close: 'f32(i + 1u) * 1.000001',
  fast: '1.0 + f32(i)',
  slow: 'f32(i) + 1.0 + 0.0',
  wrong: 'select(f32(i + 1u), 0.5, i == 7u)',
  undefined: 'select(f32(i + 1u), sqrt(-f32(i)), i == 99u)',
  broken: 'no such function()',
}

const kernelOf = (variant: string) =>
  defineKernel({
    label: `fillForTuning.${variant}`,
    bindings: { out: readWrite('f32') },
    params: { size: 'u32' },
    workgroups: ({ size }) => linearWorkgroups(size, 64),
    wgsl: /* wgsl */ `
${mainWgsl(64)} {
  let i = linearWorkgroup(id, count) * 64u + thread;
  if (i < params.size) { out[i] = ${bodies[variant]}; }
}
`,
  })

const fillFamily: TunableFamily<{ size: number }> = {
  choice: {
    family: 'fill',
    key: ({ size }) => String(size),
    candidates: () => Object.keys(bodies),
    rule: () => 'rule',
  },
  trial(problem, device) {
    return {
      tolerance: 1e-4,
      run() {
        const out = device.empty([problem.size])
        const kernel = kernelOf(device.choose(fillFamily.choice, problem))
        device.dispatch(kernel, { out }, problem)
        return out
      },
      dispose: () => undefined,
    }
  },
  kernels: () => [],
}

const noted: NotedProblem = { family: 'fill', key: String(SIZE), problem: { size: SIZE } }

/** Tunes with times of a table in place of measured ones. */
async function tuneBy(times: Readonly<Record<string, number>>) {
  const measured: Measurement[] = []
  const measure = (_: unknown, what: Measurement): Promise<number> => {
    measured.push(what)
    return Promise.resolve(times[what.variant]!)
  }
  const options = { families: [fillFamily], measure, rounds: 2, budget: 5 }
  const [result] = await tune(device(), [noted], options)
  return { result: result!, measured }
}

describe('tune', () => {
  it('takes the fastest of the candidates that agree with the rule', async () => {
    const times = { rule: 2, close: 1.5, fast: 1, slow: 3, wrong: 0.1, undefined: 0.1, broken: 0.1 }
    const { result, measured } = await tuneBy(times)
    expect(result).toMatchObject({ rule: 'rule', ruleSeconds: 2, best: 'fast', bestSeconds: 1 })
    expect(result.discarded.map(({ variant }) => variant)).toEqual(['wrong', 'undefined', 'broken'])
    expect(result.discarded[0]!.reason).toMatch(/off by 7\.5 where 100 is the largest/)
    expect(result.discarded[1]!.reason).toMatch(/off by NaN/)
    expect(result.discarded[2]!.reason).toMatch(/fillForTuning\.broken/)
    // A first look at each, then the finalists in turns.
    expect(measured.map(({ variant, budget }) => `${variant} ${budget}`)).toEqual([
      ...['rule 0', 'close 0', 'fast 0', 'slow 0'],
      ...['rule 5', 'fast 5', 'close 5', 'slow 5'],
      ...['rule 5', 'fast 5', 'close 5', 'slow 5'],
    ])
    expect(device().choose(fillFamily.choice, { size: SIZE })).toBe('fast')
    expect(device().choose(fillFamily.choice, { size: SIZE + 1 })).toBe('rule')
    await device().sync()
    device().choices.clear()
  })

  it('stays with the rule for a gain that may be noise, and drops what was tuned before', async () => {
    device().choices.set('fill', String(SIZE), 'slow')
    const times = { rule: 1, close: 0.97, fast: NaN, slow: 0 }
    const { result } = await tuneBy(times)
    expect(result).toMatchObject({ best: 'rule', bestSeconds: 1 })
    expect(device().choices.size).toBe(0)
  })

  it('stops by its signal and leaves the choices as they were', async () => {
    device().choices.set('fill', String(SIZE), 'slow')
    const controller = new AbortController()
    const measure = (): Promise<number> => {
      controller.abort()
      return Promise.resolve(1)
    }
    const { signal } = controller
    const stopped = tune(device(), [noted], { families: [fillFamily], measure, signal })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    expect([...device().choices.entries()]).toEqual([['fill/100', 'slow']])
    device().choices.clear()
  })

  it('passes over problems of families that it does not know', async () => {
    expect(await tune(device(), [{ ...noted, family: 'other' }])).toEqual([])
  })
})

/** The family with the rule's candidate and `name` alone, since each costs a compilation. */
const only = <P>(family: TunableFamily<P>, name?: string): TunableFamily<P> => ({
  ...family,
  choice: {
    ...family.choice,
    candidates: (problem: P, device: Device) =>
      family.choice
        .candidates(problem, device)
        .filter((each) => [name, family.choice.rule(problem, device)].includes(each)),
  },
})

describe('the trials of the families', () => {
  it('are of the problems that ops met, and agree between variants', async () => {
    const x = randomTensor(device(), [2, 17, 3 * 32])
    const weight = randomTensor(device(), [24, 96])
    const problems = await device().choices.noting(() => {
      linear(x, weight).dispose()
      linear(x, weight).dispose()
      attentionPacked(x, { heads: 1 }).dispose()
    })
    expect(problems.map(({ family }) => family)).toEqual(['matmul', 'attention'])
    expect(problems[0]!.problem).toMatchObject({ m: 34, n: 24, k: 96, transposeB: true })
    expect(problems[1]!.problem).toMatchObject({ batches: 2, heads: 1, tokens: 17, headSize: 32 })

    const families = [only(matmulTunable, 'rows8'), only(attentionTunable)]
    const told: string[] = []
    const results = await tune(device(), problems, {
      ...{ families, rounds: 1, budget: 1 },
      onProgress: (done, of, { key }) => told.push(`${done}/${of} ${key}`),
    })
    expect(told).toEqual(problems.map(({ key }, i) => `${i + 1}/2 ${key}`))
    for (const { ruleSeconds, bestSeconds, discarded } of results) {
      expect(discarded).toEqual([])
      expect(bestSeconds).toBeGreaterThan(0)
      expect(bestSeconds).toBeLessThanOrEqual(ruleSeconds)
      expect(ruleSeconds).toBeLessThan(60)
    }
    device().choices.clear()
    // Nothing is noted any more.
    linear(x, weight).dispose()
    expect(await device().choices.noting(() => undefined)).toEqual([])
    ;[x, weight].forEach((tensor) => tensor.dispose())
  })

  it('choose by the very key of the problem, whatever its layout and storage', async () => {
    const layouts = [
      { transposeA: false, transposeB: true, a: 'f32', b: 'i8', out: 'f32', batch: 1 },
      { transposeA: false, transposeB: false, a: 'f16', b: 'f32', out: 'f32', batch: 3 },
      { transposeA: true, transposeB: false, a: 'f32', b: 'f32', out: 'f32', batch: 1 },
    ] as const
    for (const layout of layouts) {
      const problem = { m: 5, n: 6, k: 8, ...layout }
      const trial = matmulTunable.trial(problem, device())
      const [met] = await device().choices.noting(() => trial.run().dispose())
      expect(met!.key).toBe(matmulTunable.choice.key(problem))
      trial.dispose()
    }
  })
})

describe('a choice that was forced', () => {
  it('is passed over where it can not run', async () => {
    const x = randomTensor(device(), [8, 8])
    const expected = matmul(x, x)
    const [met] = await device().choices.noting(() => matmul(x, x).dispose())
    for (const name of ['subgroup64', 'tile64.split999', '', 'toString', '__proto__']) {
      device().choices.set('matmul', met!.key, name)
      const out = matmul(x, x)
      expect(await out.read()).toEqual(await expected.read())
      out.dispose()
    }
    device().choices.clear()
    ;[x, expected].forEach((tensor) => tensor.dispose())
  })
})
