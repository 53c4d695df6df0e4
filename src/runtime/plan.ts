import { PlanMemory, type ArenaStats } from './arena.ts'
import type { Command } from './command.ts'
import type { TensorArray } from './dtype.ts'
import type { Device, Recorder } from './device.ts'
import { KeeplightError } from './errors.ts'
import { assertPresent } from './loss.ts'
import type { Allocation } from './pool.ts'
import type { Passes } from './profile.ts'
import { hold, keep, scope, tensorsIn, type Tensor } from './tensor.ts'

export interface PlanStats extends ArenaStats {
  readonly dispatches: number
  readonly runs: number
  /** Bytes of the plan's own buffers: intermediates, outputs, constants. What it captured is not in it. */
  readonly bytes: number
  /** Bytes of what it captured, weights and inputs, whole buffers each. */
  readonly heldBytes: number
  /** All of it in one line. */
  toString(): string
}

/** New values for a plan's inputs; inputs left out keep theirs. */
export type PlanValues<I> = { readonly [K in keyof I]?: TensorArray }

const UNIFORM_STRIDE = 256
/** Submits that may wait while one runs: the GPU never idles, and the host hears of a loss soon. */
const SUBMITS_AHEAD = 2
const UNIFORM = 0x40 | 0x8 // UNIFORM | COPY_DST

/**
 * A sequence of dispatches, recorded once and replayed with new inputs, in one submit if it is short.
 *
 * After `recoverDevice` a plan runs again once the inputs and the state it works on are back; its
 * outputs are lost until then.
 *
 * The code that is recorded is the code that runs eagerly, and so are the kernels, their order and
 * their workgroups: a replay gives the same bits.
 */
export class Plan<I extends Readonly<Record<string, Tensor>>, O> {
  readonly inputs: I
  /** What the recorded function returned; its tensors hold the latest run's results. */
  readonly outputs: O
  readonly #device: Device
  readonly #commands: readonly Command[]
  readonly #uniformData: Uint8Array<ArrayBuffer>
  #groups: readonly GPUBindGroup[] = []
  #uniforms: GPUBuffer
  /** The device's generation that the groups were made for. */
  #generation = -1
  /** Whether what the plan reads has been looked at since the latest recovery. */
  #present = true
  readonly #memory: PlanMemory
  readonly #held: readonly Tensor[]
  #runs = 0
  #disposed = false

  /** @internal Use {@link record}. */
  constructor(
    device: Device,
    inputs: I,
    outputs: O,
    commands: readonly Command[],
    held: readonly Tensor[],
    memory: PlanMemory,
  ) {
    this.#device = device
    this.inputs = inputs
    this.outputs = outputs
    this.#commands = commands
    this.#memory = memory
    this.#held = held
    this.#uniformData = new Uint8Array(Math.max(1, commands.length) * UNIFORM_STRIDE)
    commands.forEach(({ params }, i) => {
      this.#uniformData.set(new Uint8Array(params), i * UNIFORM_STRIDE)
    })
    this.#uniforms = this.#build()
  }

  /** Makes what belongs to one GPU device alone: parameters and bind groups. */
  #build(): GPUBuffer {
    const { gpu } = this.#device
    this.#generation = this.#device.generation
    const uniforms = gpu.createBuffer({
      label: 'keeplight plan uniforms',
      size: this.#uniformData.byteLength,
      usage: UNIFORM,
    })
    gpu.queue.writeBuffer(uniforms, 0, this.#uniformData)
    this.#groups = this.#commands.map((command) => this.#device.bindGroup(command, uniforms))
    return uniforms
  }

  /** After a recovery: everything again, and constants from the host. */
  #rebuild(): void {
    this.#uniforms = this.#build()
    this.#memory.constants.forEach((allocation) => this.#device.restore(allocation))
    this.#present = false
  }

  /** What the plan did not make, and what it keeps from run to run, must have come back. */
  #assertPresent(): void {
    const { rewritten } = this.#memory
    this.#commands.forEach((command) => assertPresent(command, rewritten))
    // Everything else is written before it is read.
    for (const { ranges } of this.#commands) {
      for (const { allocation, offset, size } of ranges) allocation.written(offset, size)
    }
    this.#present = true
  }

  /** Writes the given inputs and submits one replay. */
  run(values: PlanValues<I> = {}): void {
    this.#assertAlive()
    for (const [name, data] of Object.entries(values)) {
      const input = this.inputs[name]
      if (!input) {
        const known = Object.keys(this.inputs).join(', ')
        throw new KeeplightError('usage', `plan: no input ${name}; its inputs are ${known}`)
      }
      if (data) input.write(data as TensorArray)
    }
    this.runMany(1)
  }

  /**
   * Enqueues `count` replays, with no write or readback between them, in as few submits as keep each
   * within the device's budget. Where they are split changes no bit.
   */
  runMany(count: number): void {
    this.#assertRunnable(count)
    const device = this.#device
    device.flush()
    let passes: Passes | undefined
    let batch: Command[] = []
    let ms = 0
    const submit = (): void => {
      if (passes) device.submit(passes, batch)
      passes = undefined
      batch = []
      ms = 0
    }
    for (let run = 0; run < count; run++) {
      this.#commands.forEach((command, i) => {
        const cost = device.budget.costOf(command)
        if (!device.budget.fits(ms, cost)) submit()
        passes ??= device.passes('keeplight plan')
        device.encodeInto(passes, command, this.#groups[i]!, i * UNIFORM_STRIDE)
        batch.push(command)
        ms += cost
      })
    }
    submit()
    this.#runs += count
  }

  /**
   * Like {@link Plan.runMany}, but never more than a few submits ahead of the GPU: costs are measured
   * while it runs, and nothing piles up. Resolves when the last replay is enqueued.
   *
   * @throws KeeplightError `device-lost` when a loss of the device is told meanwhile
   */
  async replay(count: number): Promise<void> {
    this.#assertRunnable(count)
    const { budget } = this.#device
    for (let done = 0; done < count;) {
      const each = this.#commands.reduce((sum, command) => sum + budget.costOf(command), 0)
      const most = Math.max(1, Math.floor(budget.ms / Math.max(each, 1e-3)))
      const runs = Math.min(most, count - done)
      this.runMany(runs)
      done += runs
      // Only between replays: what others enqueue meanwhile must not fall into one.
      await this.#device.ahead(SUBMITS_AHEAD)
    }
  }

  #assertRunnable(count: number): void {
    this.#assertAlive()
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new KeeplightError('usage', `plan: cannot run ${count} times; expected 1 or more`)
    }
    this.#device.assertUsable('plan')
    if (this.#generation !== this.#device.generation) this.#rebuild()
    if (!this.#present) this.#assertPresent()
  }

  #heldBytes(): number {
    const buffers = new Set(this.#held.map(({ allocation }) => allocation.buffer))
    return [...buffers].reduce((sum, { size }) => sum + size, 0)
  }

  stats(): PlanStats {
    const memory = this.#memory.stats()
    const figures = {
      ...memory,
      dispatches: this.#commands.length,
      runs: this.#runs,
      bytes: memory.arenaBytes + memory.constantBytes,
      heldBytes: this.#heldBytes(),
    }
    return { ...figures, toString: () => describeStats(figures) }
  }

  #assertAlive(): void {
    if (this.#disposed)
      throw new KeeplightError('disposed', 'plan: it was disposed; record it again')
  }

  /** Frees the plan's buffers and its outputs; its inputs and what it captured stay. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    tensorsIn(this.outputs).forEach((tensor) => tensor.dispose())
    this.#held.forEach((tensor) => tensor.dispose())
    this.#uniforms.destroy()
    this.#memory.destroy()
  }
}

/**
 * Records what `body` enqueues, without running it, and compiles its pipelines in parallel.
 *
 * Intermediates share memory when they are not alive at the same time, from the first command that
 * touches them to the last; outputs, and what `body` keeps, live on.
 *
 * @param inputs tensors that {@link Plan.run} may write before a replay; they stay the caller's
 * @param body sync; the tensors it returns become `outputs`
 */
export async function record<I extends Readonly<Record<string, Tensor>>, O>(
  device: Device,
  inputs: I,
  body: (inputs: I) => O,
): Promise<Plan<I, O>> {
  const commands: Command[] = []
  const memory = new PlanMemory({
    create: (bytes, label) => device.createBuffer(bytes, label, 'record'),
    limit: device.limits.maxBufferSize,
    alignment: device.offsetAlignment,
  })
  // What the plan reads but did not make (weights, inputs) must stay while the plan lives.
  const held = new Map<Allocation, Tensor>()
  const recorder: Recorder = {
    memory,
    push(command, tensors) {
      commands.push(command)
      for (const tensor of tensors) {
        const { allocation } = tensor
        if (!memory.owns(allocation) && !held.has(allocation)) held.set(allocation, hold(tensor))
      }
    },
  }

  let outputs: O
  try {
    outputs = device.recordInto(recorder, () => scope(() => body(inputs)))
    tensorsIn(outputs).forEach((tensor) => keep(tensor))
    memory.layOut(commands)
    await device.prepare(new Set(commands.map(({ kernel }) => kernel)))
    await allocate(device, memory, commands)
    device.assertAllocated(held.keys())
  } catch (error) {
    held.forEach((tensor) => tensor.dispose())
    memory.destroy()
    throw error
  }
  return new Plan(device, inputs, outputs, commands, [...held.values()], memory)
}

/** Waits for a plan's memory; where there was none, asks once more, as the pool is trimmed by then. */
async function allocate(
  device: Device,
  memory: PlanMemory,
  commands: readonly Command[],
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    await device.allocated()
    const failure = memory.failure()
    if (!failure) return
    device.forgive(failure)
    if (attempt === 2 || !memory.layOutAgain(commands)) throw failure
  }
}

const MIB = 2 ** 20

function describeStats(stats: Omit<PlanStats, 'toString'>): string {
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(bytes < MIB ? 3 : 1)} MiB`
  const [first, second] = stats.largestBytes
  return (
    `${stats.dispatches} dispatches, ${mib(stats.arenaBytes)} in ${stats.arenas} arenas ` +
    `(at most ${mib(stats.peakLiveBytes)} alive at once; largest two ${mib(first)} and ${mib(second)}, ` +
    `1.2 × both ${mib(1.2 * (first + second))}), ` +
    `${mib(stats.constantBytes)} of constants, ${mib(stats.heldBytes)} captured, ${stats.runs} runs`
  )
}
