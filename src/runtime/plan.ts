import { PlanMemory, type ArenaStats } from './arena.ts'
import type { Command } from './command.ts'
import type { TensorArray } from './dtype.ts'
import type { Device, Recorder } from './device.ts'
import { KeeplightError } from './errors.ts'
import type { Allocation } from './pool.ts'
import { hold, keep, scope, tensorsIn, type Tensor } from './tensor.ts'

export interface PlanStats extends ArenaStats {
  readonly dispatches: number
  readonly runs: number
  /** Bytes of the plan's own buffers: intermediates, outputs, constants. What it captured is not in it. */
  readonly bytes: number
  /** All of it in one line. */
  toString(): string
}

/** New values for a plan's inputs; inputs left out keep theirs. */
export type PlanValues<I> = { readonly [K in keyof I]?: TensorArray }

const UNIFORM_STRIDE = 256
const UNIFORM = 0x40 | 0x8 // UNIFORM | COPY_DST

/**
 * A sequence of dispatches, recorded once and replayed in one submit with new inputs.
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
  readonly #groups: readonly GPUBindGroup[]
  readonly #uniforms: GPUBuffer
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
    const uniformData = new Uint8Array(Math.max(1, commands.length) * UNIFORM_STRIDE)
    commands.forEach(({ params }, i) => uniformData.set(new Uint8Array(params), i * UNIFORM_STRIDE))
    this.#uniforms = device.gpu.createBuffer({
      label: 'keeplight plan uniforms',
      size: uniformData.byteLength,
      usage: UNIFORM,
    })
    device.gpu.queue.writeBuffer(this.#uniforms, 0, uniformData)
    this.#groups = commands.map((command) => device.bindGroup(command, this.#uniforms))
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

  /** Submits `count` replays at once, with no write or readback between them. */
  runMany(count: number): void {
    this.#assertAlive()
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new KeeplightError('usage', `plan: cannot run ${count} times; expected 1 or more`)
    }
    this.#device.assertUsable('plan')
    this.#device.flush()
    const encoder = this.#device.gpu.createCommandEncoder({ label: 'keeplight plan' })
    const pass = encoder.beginComputePass({ label: 'keeplight plan' })
    for (let run = 0; run < count; run++) {
      this.#commands.forEach((command, i) => {
        this.#device.encodeInto(pass, command, this.#groups[i]!, i * UNIFORM_STRIDE)
      })
    }
    pass.end()
    this.#device.submit(encoder, this.#commands)
    this.#runs += count
  }

  stats(): PlanStats {
    const memory = this.#memory.stats()
    const figures = {
      ...memory,
      dispatches: this.#commands.length,
      runs: this.#runs,
      bytes: memory.arenaBytes + memory.constantBytes,
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
    `(at most ${mib(stats.peakLiveBytes)} alive at once; largest two ${mib(first)} and ${mib(second)}), ` +
    `${mib(stats.constantBytes)} of constants, ${stats.runs} runs`
  )
}
