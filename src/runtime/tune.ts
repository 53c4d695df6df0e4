import type { NotedProblem } from './choice.ts'
import type { Device } from './device.ts'
import { KeeplightError } from './errors.ts'
import { tunableFamilies } from './ops/tunables.ts'
import { record, type Plan } from './plan.ts'
import { timePlan } from './speed.ts'
import { scope, type Tensor } from './tensor.ts'
import type { TunableFamily, Trial } from './tunable.ts'

type TrialPlan = Plan<Record<string, Tensor>, Tensor<'f32'>>

/** What is measured: a problem's key, a variant, and for how long. */
export interface Measurement {
  readonly family: string
  readonly key: string
  readonly variant: string
  /** Milliseconds of a batch; 0: one run, for a first look. */
  readonly budget: number
}

export interface TuneOptions {
  /** Times that the fastest candidates are measured, in turns; the best counts. Default 3. */
  readonly rounds?: number
  /** Milliseconds of a batch of runs; a measurement takes about five. Default 10. */
  readonly budget?: number
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- each with problems of its own
  readonly families?: readonly TunableFamily<any>[]
  /** Seconds of one run of a recorded candidate; by default it is timed. */
  readonly measure?: (plan: TrialPlan, what: Measurement) => Promise<number>
  /** Told each problem's result as soon as there is one. */
  readonly onProgress?: (done: number, of: number, result: TunedProblem) => void
  readonly signal?: AbortSignal | undefined
}

/** What tuning found for one problem. */
export interface TunedProblem {
  readonly family: string
  readonly key: string
  /** The variant that the rule names, and its seconds. */
  readonly rule: string
  readonly ruleSeconds: number
  /** The variant that is taken from now on: the rule's where nothing is clearly faster. */
  readonly best: string
  readonly bestSeconds: number
  /** Candidates that failed to run, or whose results were too far from those of the rule's variant. */
  readonly discarded: readonly { readonly variant: string; readonly reason: string }[]
}

/** The names of the families that can be tuned. */
export const tunableFamilyNames: readonly string[] = tunableFamilies.map(
  ({ choice }) => choice.family,
)

/** Candidates that a first look leaves in the race, beside the rule's. */
const FINALISTS = 4
/** Share of the rule's time that a candidate must save: less is noise, and rules are easier to trust. */
const WORTHWHILE = 0.05

/**
 * Measures, for every problem, the kernels that can run it on this adapter, and makes the fastest the
 * device's choice. A candidate counts only if its result agrees with that of the rule's kernel within
 * the family's tolerance, so results change by rounding at most.
 *
 * Plans that were recorded before keep the kernels they have.
 *
 * @param problems from `device.choices.noting`; families without trials are passed over
 * @throws KeeplightError `aborted`; `device-lost`; whatever the rule's own kernel throws
 */
export async function tune(
  device: Device,
  problems: readonly NotedProblem[],
  options: TuneOptions = {},
): Promise<TunedProblem[]> {
  const { families = tunableFamilies, signal, onProgress } = options
  const known = problems.flatMap((noted) => {
    const family = families.find(({ choice }) => choice.family === noted.family)
    return family ? [{ ...noted, family }] : []
  })
  const results: TunedProblem[] = []
  for (const { family, key, problem } of known) {
    if (signal?.aborted) throw new KeeplightError('aborted', 'tune: stopped')
    const tuned = await tuneProblem(device, family, key, problem, options)
    const { best, rule } = tuned
    if (best === rule) device.choices.delete(tuned.family, key)
    else device.choices.set(tuned.family, key, best)
    results.push(tuned)
    onProgress?.(results.length, known.length, tuned)
  }
  return results
}

async function tuneProblem<P>(
  device: Device,
  family: TunableFamily<P>,
  key: string,
  problem: P,
  options: TuneOptions,
): Promise<TunedProblem> {
  const { rounds = 3, budget = 10, measure = timeOf(device) } = options
  const { choice } = family
  const before = device.choices.get(choice.family, key)
  const trial = family.trial(problem, device)
  const discarded: { variant: string; reason: string }[] = []
  const best = new Map<string, number>()
  const time = async (plan: TrialPlan, variant: string, budget: number): Promise<number> => {
    const seconds = await measure(plan, { family: choice.family, key, variant, budget })
    return Number.isFinite(seconds) && seconds > 0 ? seconds : Infinity
  }
  /** Records the trial with a variant forced, since the op asks the device which to take. */
  const withVariant = async <R>(
    variant: string,
    body: (plan: TrialPlan) => Promise<R>,
  ): Promise<R> => {
    device.choices.set(choice.family, key, variant)
    const plan = await record(device, {}, () => scope(() => trial.run()))
    try {
      return await body(plan)
    } finally {
      plan.dispose()
    }
  }
  try {
    const rule = choice.rule(problem, device)
    const run = async (plan: TrialPlan): Promise<Float32Array> => {
      plan.run()
      return plan.outputs.read()
    }
    const looks = new Map<string, number>()
    const expected = await withVariant(rule, async (plan) => {
      const result = await run(plan)
      looks.set(rule, await time(plan, rule, 0))
      return result
    })
    const candidates = choice.candidates(problem, device)
    for (const variant of family.worthwhile?.(candidates, device) ?? candidates) {
      if (variant === rule) continue
      if (options.signal?.aborted) throw new KeeplightError('aborted', 'tune: stopped')
      const reason = await withVariant(variant, async (plan) => {
        const wrong = difference(await run(plan), expected, trial)
        if (wrong === undefined) looks.set(variant, await time(plan, variant, 0))
        return wrong
      }).catch((error: unknown) => failure(device, error))
      if (reason !== undefined) discarded.push({ variant, reason })
    }
    const others = [...looks].filter(([variant]) => variant !== rule)
    others.sort(([, a], [, b]) => a - b)
    const finalists = [rule, ...others.slice(0, FINALISTS).map(([variant]) => variant)]
    for (let round = 0; round < rounds; round++) {
      for (const variant of finalists) {
        const seconds = await withVariant(variant, (plan) => time(plan, variant, budget))
        best.set(variant, Math.min(seconds, best.get(variant) ?? Infinity))
      }
    }
    const secondsOf = (variant: string): number => best.get(variant) ?? Infinity
    const [fastest = rule] = [...finalists].sort((a, b) => secondsOf(a) - secondsOf(b))
    const ruleSeconds = secondsOf(rule)
    const winner = secondsOf(fastest) < ruleSeconds * (1 - WORTHWHILE) ? fastest : rule
    return {
      family: choice.family,
      ...{ key, rule, ruleSeconds, best: winner, bestSeconds: secondsOf(winner), discarded },
    }
  } finally {
    if (before === undefined) device.choices.delete(choice.family, key)
    else device.choices.set(choice.family, key, before)
    trial.dispose()
    device.trim()
  }
}

/** What is wrong with a candidate's result, if anything. */
function difference(
  result: Float32Array,
  expected: Float32Array,
  { tolerance }: Trial,
): string | undefined {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const apart = Math.abs(result[i]! - expected[i]!)
    // A NaN must not pass for a small number.
    if (!(apart <= worst)) worst = apart
    if (Number.isNaN(apart)) break
  }
  if (worst <= tolerance * largest) return undefined
  return `its result is off by ${worst} where ${largest} is the largest value, tolerance ${tolerance}`
}

/** Why a candidate couldn't run; what concerns the whole device is thrown on. */
async function failure(device: Device, error: unknown): Promise<string> {
  const known = error instanceof KeeplightError
  if (!known || ['aborted', 'device-lost', 'disposed', 'usage'].includes(error.code)) throw error
  // The same failure may still be on its way to the next sync.
  await device.sync().catch((later: unknown) => {
    if (later instanceof KeeplightError && later.code === 'device-lost') throw later
  })
  return error.message
}

const timeOf =
  (device: Device) =>
  async (plan: TrialPlan, { budget }: Measurement): Promise<number> => {
    if (budget > 0) return timePlan(device, plan, budget)
    const start = performance.now()
    plan.run()
    await device.sync()
    return (performance.now() - start) / 1000
  }
