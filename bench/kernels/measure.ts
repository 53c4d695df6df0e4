import { record, scope, timePlan, type Device } from '../../src/index.node.ts'
import type { KernelCase } from './cases.ts'
import { Inputs } from './inputs.ts'
import { copyOf, fmaLoop } from './limits.ts'

/** Makes inputs; what it returns enqueues once what is measured. */
export type Prepare = (inputs: Inputs) => () => unknown

export interface KernelResult {
  readonly kernel: string
  readonly shape: string
  readonly use: string
  /** Seconds of one dispatch: the best of several batches in every round. */
  readonly seconds: number
  readonly gflops?: number
  readonly gbs?: number
  /** Share of the FMA loop's GFLOP/s, or of the speed of a copy that moves as many bytes. */
  readonly fraction: number
}

export interface Limits {
  readonly fmaGflops: number
  /** A copy that reads 32 MiB and writes them. */
  readonly copyGBs: number
}

const LARGE_COPY = 2 ** 26

/**
 * Times things against the adapter's own limits. All of it is measured in every round, and the best
 * of the rounds counts: a neighbour on the machine then has to disturb the same thing every time.
 */
export class Bench {
  readonly device: Device
  readonly #budget: number
  readonly #best = new Map<string, number>()

  /** @param budget milliseconds of one batch of replays; a measurement takes about five */
  constructor(device: Device, budget: number) {
    this.device = device
    this.#budget = budget
  }

  /** Measures the limits once more. */
  async limits(): Promise<void> {
    await this.time('fma', fmaLoop(this.device).prepare)
    await this.time(copyKey(LARGE_COPY), copyOf(LARGE_COPY))
  }

  /** Measures a kernel, and the copy it is compared with, once more. */
  async measure(item: KernelCase): Promise<void> {
    await this.time(keyOf(item), (inputs) => item.prepare(inputs))
    if (item.bytes !== undefined) await this.time(copyKey(item.bytes), copyOf(item.bytes))
  }

  /** Times one replay of what `prepare` returns; returns the dispatches of it. */
  async time(key: string, prepare: Prepare): Promise<number> {
    const { device } = this
    const inputs = new Inputs(device)
    const body = prepare(inputs)
    const plan = await record(device, {}, () => scope(() => void body()))
    try {
      this.#note(key, await timePlan(device, plan, this.#budget))
      return plan.stats().dispatches
    } finally {
      plan.dispose()
      inputs.dispose()
      device.trim()
    }
  }

  #note(key: string, seconds: number): void {
    this.#best.set(key, Math.min(seconds, this.#best.get(key) ?? Infinity))
  }

  /** Seconds of the best round so far. */
  best(key: string): number {
    return this.#best.get(key) ?? NaN
  }

  bestLimits(): Limits {
    return {
      fmaGflops: fmaLoop(this.device).flops / this.best('fma') / 1e9,
      copyGBs: LARGE_COPY / this.best(copyKey(LARGE_COPY)) / 1e9,
    }
  }

  result(item: KernelCase): KernelResult {
    const { kernel, shape, use, flops, bytes } = item
    const seconds = this.best(keyOf(item))
    const about = { kernel, shape, use, seconds }
    if (flops === undefined) {
      const fraction = this.best(copyKey(bytes!)) / seconds
      return { ...about, gbs: bytes! / seconds / 1e9, fraction }
    }
    const gflops = flops / seconds / 1e9
    return { ...about, gflops, fraction: gflops / this.bestLimits().fmaGflops }
  }
}

const keyOf = ({ kernel, shape, use }: KernelCase): string => `${kernel} ${shape} ${use}`
const copyKey = (bytes: number): string => `copy ${bytes}`
