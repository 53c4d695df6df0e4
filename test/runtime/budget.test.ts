import { describe, expect, it } from 'vitest'
import { fmaLoopKernel, fmaLoopSize } from '../../src/runtime/speed.ts'
import { SubmitBudget } from '../../src/runtime/budget.ts'
import type { Command } from '../../src/runtime/command.ts'
import { record } from '../../src/runtime/plan.ts'
import { RetryTimes } from '../../src/runtime/recovery.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'

/** A command of one binding, as far as a budget looks at it. */
const commandOf = (label: string, workgroups: number): Command =>
  ({
    kernel: { label, bindings: { out: { access: 'readWrite' } } },
    ranges: [{ size: 16, dtype: 'f32', shape: [4] }],
    workgroups: [workgroups, 1, 1],
  }) as unknown as Command

/** A budget on a clock that the test moves, and submits whose end it tells. */
function simulate(ms: number) {
  let time = 0
  const budget = new SubmitBudget(ms, () => time)
  const submit = (commands: readonly Command[]): (() => void) => {
    let end = (): void => {}
    budget.submitted(commands, new Promise<void>((resolve) => (end = resolve)))
    return end
  }
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve))
  const run = async (commands: readonly Command[], takes: number): Promise<void> => {
    const end = submit(commands)
    time += takes
    end()
    await settle()
  }
  return { budget, submit, run, settle, pass: (by: number) => (time += by) }
}

describe('a submit budget', () => {
  it('takes an unknown dispatch for slow, and one alone always fits', () => {
    const { budget } = simulate(50)
    const [small, huge] = [commandOf('small', 1), commandOf('huge', 65_535)]
    expect(budget.costOf(small)).toBeLessThan(0.1)
    expect(budget.costOf(huge)).toBeGreaterThan(50)
    expect(budget.fits(0, budget.costOf(huge))).toBe(true)
    expect(budget.fits(budget.costOf(small), budget.costOf(huge))).toBe(false)
    expect(budget.fits(49, 1)).toBe(true)
    expect(budget.fits(49.5, 1)).toBe(false)
  })

  it('believes its first measurement, a lower one at once, a higher one by half', async () => {
    const { budget, run } = simulate(50)
    const command = commandOf('x', 1000)
    await run([command, command, command, command], 20)
    expect(budget.costOf(command)).toBeCloseTo(5)
    await run([command, command], 2)
    expect(budget.costOf(command)).toBeCloseTo(1)
    await run([command], 4)
    expect(budget.costOf(command)).toBeCloseTo(2)
    // A host that slept for a minute is no reason to believe in minutes.
    await run([command], 60_000)
    expect(budget.costOf(command)).toBeCloseTo(8)
    expect(budget.costOf(commandOf('x', 1000))).toBeCloseTo(8)
    expect(budget.costOf(commandOf('x', 2000))).toBeCloseTo(10)
  })

  it('gives what is unknown the time that the known leaves', async () => {
    const { budget, run } = simulate(50)
    const [known, other] = [commandOf('known', 10), commandOf('other', 10)]
    await run([known, known], 4)
    await run([known, other], 9)
    expect(budget.costOf(known)).toBeCloseTo(2)
    expect(budget.costOf(other)).toBeCloseTo(7)
  })

  it('counts a submit in a queue from the end of the one before', async () => {
    const { budget, submit, settle, pass } = simulate(50)
    const [a, b] = [commandOf('a', 10), commandOf('b', 10)]
    const ends = [submit([a]), submit([b])]
    pass(10)
    ends[0]!()
    await settle()
    pass(3)
    ends[1]!()
    await settle()
    expect(budget.costOf(a)).toBeCloseTo(10)
    expect(budget.costOf(b)).toBeCloseTo(3)
    expect(budget.stats()).toMatchObject({
      submitBudgetMs: 50,
      longestSubmitMs: 10,
      longestSubmit: 'a(out f32[4])',
      submitMs: { p50: 3, p99: 10 },
    })
  })

  it('takes submits whose ends are told in one go for one', async () => {
    const { budget, submit, settle, pass } = simulate(50)
    const a = commandOf('a', 10)
    const ends = [submit([a]), submit([a]), submit([a])]
    pass(12)
    ends.forEach((end) => end())
    await settle()
    expect(budget.costOf(a)).toBeCloseTo(4)
    expect(budget.stats().longestSubmitMs).toBeCloseTo(4)
  })

  it('waits while too many submits are in flight, and forgets those that failed', async () => {
    const { budget, submit, settle } = simulate(50)
    const ends = [1, 2, 3].map(() => submit([commandOf('a', 1)]))
    let free = false
    const waiting = budget.ahead(2).then(() => (free = true))
    await settle()
    expect(free).toBe(false)
    ends[0]!()
    await waiting
    budget.submitted([commandOf('a', 1)], Promise.reject(new Error('lost')))
    ends.slice(1).forEach((end) => end())
    await budget.ahead(0)
    expect(budget.stats().longestSubmitMs).toBe(0)
  })
})

describe('plans within the budget', () => {
  const device = useDevice()

  it('split long work by measured time, to the same bits', async () => {
    const { budget } = device()
    const { groups, outputs } = fmaLoopSize(device())
    const make = () =>
      record(device(), {}, () => {
        const out = device().empty([outputs])
        for (let i = 0; i < 4; i++) device().dispatch(fmaLoopKernel, { out }, { groups })
        return out
      })
    const plan = await make()
    await plan.replay(1)
    await device().sync()
    const each = 4 * (device().stats().submitMs.p99 / 4)
    expect(each).toBeGreaterThan(0)
    const expected = hashBits(await plan.outputs.read())
    // A budget of about two and a half replays, whatever this machine takes for one.
    const command = { ms: budget.ms }
    Object.defineProperty(budget, 'ms', { value: 2.5 * each, configurable: true })
    try {
      const before = device().stats().submits
      plan.runMany(10)
      await device().sync()
      expect(device().stats().submits - before).toBeGreaterThanOrEqual(3)
      await plan.replay(10)
      expect(hashBits(await plan.outputs.read())).toBe(expected)
      // One replay that is longer than the budget is split between its dispatches.
      Object.defineProperty(budget, 'ms', { value: each / 100, configurable: true })
      const single = device().stats().submits
      plan.runMany(1)
      expect(device().stats().submits - single).toBe(4)
      expect(hashBits(await plan.outputs.read())).toBe(expected)
      expect(device().stats().longestSubmit).toContain('fmaLoop')
    } finally {
      Object.defineProperty(budget, 'ms', { value: command.ms, configurable: true })
    }
    plan.dispose()
  })
})

describe('RetryTimes', () => {
  it('retries at once, then not before 130 s, and anew after a calm', () => {
    let time = 1000
    const retry = new RetryTimes(() => time)
    expect(retry.wait()).toBe(0)
    retry.lost()
    expect(retry.wait()).toBe(0)
    time += 60_000
    retry.lost()
    expect(retry.wait()).toBe(130_000)
    time += 129_000
    expect(retry.wait()).toBe(1000)
    time += 1000
    expect(retry.wait()).toBe(0)
    retry.lost()
    expect(retry.wait()).toBe(0)
  })
})
