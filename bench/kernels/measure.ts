import {
  measureSpeed,
  record,
  scope,
  timePlan,
  type Device,
  type Speed,
} from '../../src/index.node.ts'
import { scaleKernel } from '../../src/kernels/elementwise.ts'
import type { KernelCase } from './cases.ts'
import { Inputs } from './inputs.ts'

export interface KernelResult {
  readonly kernel: string
  readonly shape: string
  readonly use: string
  /** Seconds of one dispatch, the best of several batches. */
  readonly seconds: number
  readonly gflops?: number
  readonly gbs?: number
  /** Share of the FMA loop's GFLOP/s, or of the speed of a copy that moves as many bytes. */
  readonly fraction: number
}

/** Times kernels against the adapter's own ceilings, which it measures in the same run. */
export class Bench {
  readonly device: Device
  readonly speed: Speed
  readonly #budget: number
  readonly #copies = new Map<number, number>()

  private constructor(device: Device, speed: Speed, budget: number) {
    this.device = device
    this.speed = speed
    this.#budget = budget
  }

  /** @param budget milliseconds of one batch of replays; a measurement takes about five */
  static async create(device: Device, budget: number): Promise<Bench> {
    return new Bench(device, await measureSpeed(device), budget)
  }

  async measure(item: KernelCase): Promise<KernelResult> {
    const { kernel, shape, use, flops, bytes } = item
    const seconds = await this.time((inputs) => item.prepare(inputs))
    const about = { kernel, shape, use, seconds }
    if (flops !== undefined) {
      const gflops = flops / seconds / 1e9
      return { ...about, gflops, fraction: gflops / this.speed.fmaGflops }
    }
    const copy = await this.#copySeconds(bytes!)
    return { ...about, gbs: bytes! / seconds / 1e9, fraction: copy / seconds }
  }

  /** Seconds of one replay of what `prepare` returns. */
  async time(prepare: (inputs: Inputs) => () => unknown): Promise<number> {
    const { device } = this
    const inputs = new Inputs(device)
    const body = prepare(inputs)
    const plan = await record(device, {}, () => scope(() => void body()))
    try {
      return await timePlan(device, plan, this.#budget)
    } finally {
      plan.dispose()
      inputs.dispose()
      device.trim()
    }
  }

  async #copySeconds(bytes: number): Promise<number> {
    let seconds = this.#copies.get(bytes)
    if (seconds === undefined) {
      const size = Math.ceil(bytes / 8)
      seconds = await this.time(({ device, random }) => {
        const x = random([size])
        return () => {
          device.dispatch(scaleKernel, { x, out: device.empty([size]) }, { size, scale: 1 })
        }
      })
      this.#copies.set(bytes, seconds)
    }
    return seconds
  }
}
