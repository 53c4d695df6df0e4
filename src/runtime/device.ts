import type { Kernel, KernelFeature, KernelVariant } from '../kernels/kernel.ts'
import {
  describeAdapter,
  limitsOf,
  requestGpu,
  type AdapterDescription,
  type AdapterSource,
  type Limits,
} from './adapter.ts'
import type { PlanMemory } from './arena.ts'
import { DeviceBuffer } from './buffer.ts'
import { HARDWARE_BUDGET_MS, SOFTWARE_BUDGET_MS, SubmitBudget, type SubmitStats } from './budget.ts'
import { Choices, type KernelChoice } from './choice.ts'
import { describe, makeCommands, type Command } from './command.ts'
import {
  arrayOf,
  bytesPerElement,
  dtypeOf,
  wholeWords,
  type ArrayOf,
  type Dtype,
  type DtypeOf,
  type TensorArray,
} from './dtype.ts'
import { KeeplightError } from './errors.ts'
import { culprit, typedError } from './gpuErrors.ts'
import { PipelineCache } from './pipelines.ts'
import { assertHeld, assertPresent, forgetSources, lossError, soon } from './loss.ts'
import {
  failureOf,
  noteFailure,
  OutOfMemoryError,
  requestBuffer,
  runningOp,
  type MemoryWanted,
} from './outOfMemory.ts'
import { BufferPool, type Allocation, type PoolStats } from './pool.ts'
import { Passes, Profiler, type Profile, type Submission } from './profile.ts'
import { checkShape, sizeOf, type Shape } from './shape.ts'
import { Tensor } from './tensor.ts'

export interface DeviceStats extends PoolStats, SubmitStats {
  readonly dispatches: number
  readonly submits: number
  readonly pipelines: number
}

/** One WebGPU device with what is made for it alone. A recovery puts another in its place. */
interface Connection {
  readonly gpu: GPUDevice
  readonly pipelines: PipelineCache
  readonly uniforms: GPUBuffer
  /** Resolves with the reason once this device is lost or closed. */
  readonly lost: Promise<KeeplightError>
  /** The reason, once it is told. */
  reason: KeeplightError | undefined
}

/** Takes commands instead of the eager encoder while a plan is recorded. */
export interface Recorder {
  readonly memory: PlanMemory
  push(command: Command, tensors: readonly Tensor[]): void
}

/** Dispatches that eager code collects before it submits them by itself. */
const DISPATCHES_PER_SUBMIT = 128
const UNIFORM_STRIDE = 256
const STORAGE = 0x80 | 0x4 | 0x8 // STORAGE | COPY_SRC | COPY_DST
const STAGING = 0x1 | 0x8 // MAP_READ | COPY_DST
const UNIFORM = 0x40 | 0x8 // UNIFORM | COPY_DST

/**
 * A GPU device: memory, pipelines, and the one place that every dispatch passes through.
 *
 * Ops only enqueue. Errors of the GPU arrive later and are thrown by the next `read` or `sync`.
 */
export class Device {
  readonly adapter: AdapterDescription
  readonly features: readonly string[]
  readonly limits: Limits
  readonly offsetAlignment: number
  /**
   * Bytes that one binding takes; a dispatch over larger tensors is cut into several. A test lowers it
   * to have small tensors cut.
   */
  maxBindingBytes: number
  /** Kernel variants that were tuned or forced; empty where only rules decide. */
  readonly choices = new Choices()
  /** How long submits take, and should. */
  readonly budget: SubmitBudget
  /** @internal Asks for the adapter again; absent when the caller brought an adapter. */
  readonly requestAdapter: AdapterSource | undefined

  readonly #pool: BufferPool
  readonly #buffers = new Set<DeviceBuffer>()
  /** Memory that a recovery fills again from the host. */
  readonly #constants = new Set<Allocation>()
  readonly #uniformData = new Uint8Array(DISPATCHES_PER_SUBMIT * UNIFORM_STRIDE)
  readonly #checks = new Set<Promise<void>>()
  #batch: Command[] = []
  #batchMs = 0
  #passes: Passes | undefined
  #profiler: Profiler | undefined
  #recorder: Recorder | undefined
  #error: KeeplightError | undefined
  #connection: Connection
  #generation = 0
  #closed = false
  #dispatches = 0
  #submits = 0
  #refusals = 0

  private constructor(gpu: GPUDevice, adapter: AdapterDescription, source?: AdapterSource) {
    this.adapter = adapter
    this.requestAdapter = source
    this.budget = new SubmitBudget(adapter.software ? SOFTWARE_BUDGET_MS : HARDWARE_BUDGET_MS)
    this.features = [...gpu.features].sort()
    this.limits = limitsOf(gpu)
    this.maxBindingBytes = gpu.limits.maxStorageBufferBindingSize
    this.offsetAlignment = gpu.limits.minStorageBufferOffsetAlignment
    this.#pool = new BufferPool(
      (bytes, label) => this.createBuffer(bytes, label),
      gpu.limits.maxBufferSize,
    )
    this.#connection = this.#connect(gpu)
  }

  #connect(gpu: GPUDevice): Connection {
    gpu.addEventListener('uncapturederror', (event) => {
      event.preventDefault()
      this.#error ??= typedError(event.error, this.#batch.at(-1))
    })
    const connection: Connection = {
      gpu,
      pipelines: new PipelineCache(gpu, (error, what) => this.#check(error, what)),
      uniforms: gpu.createBuffer({
        label: 'keeplight uniforms',
        size: this.#uniformData.byteLength,
        usage: UNIFORM,
      }),
      reason: undefined,
      lost: gpu.lost.then((info) => {
        return (connection.reason = this.#closed
          ? new KeeplightError(
              'disposed',
              'the device was closed; create another with createDevice()',
            )
          : lossError(info))
      }),
    }
    return connection
  }

  /** The WebGPU device, for work beside Keeplight's; another one after a recovery. */
  get gpu(): GPUDevice {
    return this.#connection.gpu
  }

  /** Resolves with the reason once the device is lost or closed; after a recovery a new promise. */
  get lost(): Promise<KeeplightError> {
    return this.#connection.lost
  }

  /** Why the device is unusable, once that is known. */
  get loss(): KeeplightError | undefined {
    return this.#connection.reason
  }

  /** How many times the device was recovered. */
  get generation(): number {
    return this.#generation
  }

  /**
   * Requests a device with every useful feature and limit that the adapter has.
   *
   * @param source where `recoverDevice` gets the adapter again
   * @throws KeeplightError `device` when the adapter gives none, `device-lost` when it is lost at birth
   */
  static async fromAdapter(adapter: GPUAdapter, source?: AdapterSource): Promise<Device> {
    const gpu = await requestGpu(adapter)
    return new Device(gpu, describeAdapter(adapter.info), source)
  }

  /** The variant of kernel families that suits this adapter. */
  get kernelVariant(): KernelVariant {
    const { software, subgroupSize } = this.adapter
    if (!software || !this.has('subgroups')) return 'tile'
    return subgroupSize === 8 ? 'subgroup8' : subgroupSize === 4 ? 'subgroup4' : 'tile'
  }

  /** The variant of a kernel family for a problem: the tuned one, else the rule's. */
  choose<P>(choice: KernelChoice<P>, problem: P): string {
    return this.choices.choose(choice, problem, this)
  }

  has(feature: KernelFeature): boolean {
    return this.features.includes(feature)
  }

  get recording(): boolean {
    return this.#recorder !== undefined
  }

  /** @internal Sends commands and allocations of `body` to a recorder. */
  recordInto<R>(recorder: Recorder, body: () => R): R {
    if (this.#recorder)
      throw new KeeplightError('usage', 'record: a plan is being recorded already')
    this.#recorder = recorder
    try {
      return body()
    } finally {
      this.#recorder = undefined
    }
  }

  /** An uninitialised tensor; its bytes are whatever the buffer held before. */
  empty<D extends Dtype = 'f32'>(shape: Shape, dtype: D = 'f32' as D): Tensor<D> {
    return this.#allocate(shape, dtype, 'empty', false)
  }

  /** A tensor with the given values. While a plan is recorded it is one of the plan's constants. */
  tensor(data: Float32Array, shape: Shape): Tensor<'f32'>
  tensor(data: Uint32Array, shape: Shape): Tensor<'u32'>
  tensor(data: Int32Array, shape: Shape): Tensor<'i32'>
  /** Bits of 16-bit floats. */
  tensor(data: Uint16Array, shape: Shape): Tensor<'f16'>
  tensor(data: Int8Array, shape: Shape): Tensor<'i8'>
  tensor(data: Uint8Array, shape: Shape): Tensor<'u8'>
  tensor(data: TensorArray, shape: Shape): Tensor
  tensor(data: TensorArray, shape: Shape): Tensor {
    const tensor = this.#allocate(shape, dtypeOf(data), 'tensor', this.recording)
    this.#upload(tensor, data)
    if (this.recording) tensor.allocation.source = data.slice()
    return tensor
  }

  /**
   * A tensor like {@link Device.tensor} whose values are there again after a recovery: weights and
   * tables. `data` is kept for that as long as the tensor and its views live; do not change it. A
   * kernel that writes to the tensor makes it an ordinary one.
   *
   * @param reload gives the same values again, from a file for instance, so that `data` is not kept
   */
  constant<A extends TensorArray>(
    data: A,
    shape: Shape,
    reload?: () => Promise<A>,
  ): Tensor<DtypeOf<A>> {
    const tensor = this.tensor(data, shape) as Tensor<DtypeOf<A>>
    const { allocation } = tensor
    if (!this.recording) {
      allocation.source = reload ?? data
      allocation.onRelease = () => this.#constants.delete(allocation)
      this.#constants.add(allocation)
    }
    return tensor
  }

  #allocate<D extends Dtype>(shape: Shape, dtype: D, op: string, constant: boolean): Tensor<D> {
    this.assertUsable(op)
    checkShape(op, shape)
    const bytes = sizeOf(shape) * bytesPerElement[dtype]
    if (bytes > this.limits.maxBufferSize) {
      const what =
        `${dtype}[${shape.join(', ')}] needs ${bytes} bytes, a buffer of this adapter holds at most ` +
        `${this.limits.maxBufferSize}; split it along its first dimension into several tensors`
      throw new OutOfMemoryError(this.#wanted(bytes, op), what)
    }
    const label = `keeplight ${dtype}[${shape.join(', ')}]`
    const allocation = this.#recorder
      ? this.#recorder.memory.allocate(bytes, label, constant)
      : this.#pool.allocate(bytes, label)
    return new Tensor(this, allocation, shape, dtype)
  }

  /**
   * @internal A storage buffer. Where the GPU tells at once that it has no memory, the pool's free
   * buffers are given back and it is asked again; where it tells later, as WebGPU does, the next sync
   * throws, and so does every later use of the buffer.
   *
   * @throws OutOfMemoryError
   */
  createBuffer(size: number, label: string, op = 'empty'): DeviceBuffer {
    const gpu = this.#createBuffer(size, label, op, () => buffer)
    const buffer = new DeviceBuffer(gpu, { size, label }, (gone) => this.#buffers.delete(gone))
    this.#buffers.add(buffer)
    return buffer
  }

  /** @param owner what turns out to have no memory when the GPU says so */
  #createBuffer(size: number, label: string, op: string, owner: () => DeviceBuffer): GPUBuffer {
    return requestBuffer(this.gpu, { label, size, usage: STORAGE }, this.#wanted(size, op), {
      trim: () => this.trim(),
      validated: (error) => this.#check(error, () => `allocating ${size} bytes for ${label}`),
      answered: (error) => {
        const told = error.then((refusal) => {
          if (refusal) this.#refuse(owner(), refusal)
        })
        this.#follow(told)
      },
    })
  }

  #wanted(bytes: number, op: string): MemoryWanted {
    const { bytes: all, usedBytes } = this.#pool.stats()
    return { bytes, op: runningOp() ?? op, usedBytes, freeBytes: all - usedBytes }
  }

  /** The GPU has no memory for this buffer; what waits for reuse goes back, for the next attempt. */
  #refuse(buffer: DeviceBuffer, error: OutOfMemoryError): void {
    noteFailure(buffer, error)
    this.#refusals++
    this.#pool.discard(buffer)
    // Errors of commands that used it say less than this one.
    if (!(this.#error instanceof OutOfMemoryError)) this.#error = error
    if (!this.#closed && !this.loss) this.trim()
  }

  /** @internal Waits until the GPU has answered every allocation so far. */
  async allocated(): Promise<void> {
    await Promise.all(this.#checks)
  }

  /** @internal Takes back an error that the caller deals with, so that no sync throws it. */
  forgive(error: KeeplightError): void {
    if (this.#error === error) this.#error = undefined
  }

  /** @internal Throws why one of these has no memory. */
  assertAllocated(allocations: Iterable<Allocation>): void {
    if (this.#refusals === 0) return
    for (const { buffer } of allocations) {
      const failure = failureOf(buffer)
      if (failure) throw failure
    }
  }

  /** Writes host values into a tensor, after everything enqueued so far. */
  write(tensor: Tensor, data: TensorArray): void {
    if (this.recording) {
      throw new KeeplightError(
        'usage',
        'write: values written while a plan is recorded would not be replayed; write its inputs instead',
      )
    }
    this.#upload(tensor, data)
  }

  #upload(tensor: Tensor, data: TensorArray): void {
    this.assertUsable('write')
    if (data.length !== tensor.size || dtypeOf(data) !== tensor.dtype) {
      throw new KeeplightError(
        'validation',
        `write: ${tensor.toString()} takes ${tensor.size} values of ${tensor.dtype}, ` +
          `got ${data.length} of ${dtypeOf(data)}`,
      )
    }
    this.assertAllocated([tensor.allocation])
    if (this.#batch.length > 0) this.flush()
    this.#write(tensor.allocation, tensor.offset, data)
    const { allocation } = tensor
    const { source } = allocation
    if (source) {
      const held = typeof source === 'function' ? Infinity : source.byteLength
      const whole = tensor.offset === 0 && data.byteLength >= held
      allocation.source = whole ? data.slice() : undefined
    }
  }

  #write(allocation: Allocation, offset: number, data: TensorArray): void {
    const bytes = wholeWords(data)
    this.gpu.queue.writeBuffer(allocation.buffer.gpu, allocation.offset + offset, bytes)
    allocation.written(offset, Math.ceil(data.byteLength / 16) * 16)
  }

  /** @internal Fills memory from its copy on the host, if it has one. */
  restore(allocation: Allocation): void {
    const { source } = allocation
    if (source && typeof source !== 'function') this.#write(allocation, 0, source)
  }

  /** Fills memory from where its values can be had again; one after the other, as they may be large. */
  async #reload(allocations: readonly Allocation[]): Promise<void> {
    for (const allocation of allocations) {
      const { source } = allocation
      if (typeof source !== 'function') continue
      const values = await source()
      // Meanwhile it may have been written or freed.
      if (allocation.source === source && this.#constants.has(allocation)) {
        this.#write(allocation, 0, values)
      }
    }
  }

  /**
   * Enqueues one kernel. All ops, gradient rules and optimisers come through here, and none knows
   * whether the kernel runs now or is recorded into a plan.
   */
  dispatch<B extends string, P extends string>(
    kernel: Kernel<B, P>,
    tensors: Readonly<Record<NoInfer<B>, Tensor>>,
    params: Readonly<Record<NoInfer<P>, number>>,
  ): void {
    this.assertUsable(kernel.label)
    const generic = kernel as unknown as Kernel
    const missing = kernel.features?.find((feature) => !this.has(feature))
    if (missing) {
      throw new KeeplightError('validation', `${kernel.label}: this adapter lacks ${missing}`)
    }
    for (const [name, tensor] of Object.entries<Tensor>(tensors)) {
      if (tensor.device !== this) {
        throw new KeeplightError(
          'validation',
          `${kernel.label}: ${name} ${tensor.toString()} belongs to another device; ` +
            'read it there and make a tensor of its values here',
        )
      }
    }
    for (const command of makeCommands(generic, tensors, params, this)) {
      if (!this.#recorder) assertPresent(command)
      forgetSources(command)
      if (this.#recorder) this.#recorder.push(command, Object.values(tensors))
      else this.#encode(command)
    }
  }

  #encode(command: Command): void {
    this.assertAllocated(command.ranges.map(({ allocation }) => allocation))
    const cost = this.budget.costOf(command)
    const full = this.#batch.length >= DISPATCHES_PER_SUBMIT
    if (full || !this.budget.fits(this.#batchMs, cost)) this.flush()
    this.#batchMs += cost
    const slot = this.#batch.length * UNIFORM_STRIDE
    this.#uniformData.set(new Uint8Array(command.params), slot)
    this.#passes ??= this.passes('keeplight eager')
    this.#batch.push(command)
    const group = this.bindGroup(command, this.#connection.uniforms)
    this.encodeInto(this.#passes, command, group, slot)
  }

  /** @internal Starts an encoder for dispatches; `submit` ends it. */
  passes(label: string): Passes {
    return new Passes(this.gpu, label, this.#profiler)
  }

  /** @internal */
  bindGroup(command: Command, uniforms: GPUBuffer): GPUBindGroup {
    const { kernel, ranges, params } = command
    const { layout, hasParams } = this.#connection.pipelines.get(kernel)
    const entries: GPUBindGroupEntry[] = ranges.map(({ allocation, offset, size }, binding) => {
      const { buffer } = allocation
      return { binding, resource: { buffer: buffer.gpu, offset: allocation.offset + offset, size } }
    })
    if (hasParams) {
      entries.push({
        binding: entries.length,
        resource: { buffer: uniforms, size: params.byteLength },
      })
    }
    return this.gpu.createBindGroup({ label: describe(command), layout, entries })
  }

  /** @internal */
  encodeInto(passes: Passes, command: Command, group: GPUBindGroup, slot: number): void {
    const { kernel, workgroups } = command
    const { pipeline, hasParams } = this.#connection.pipelines.get(kernel)
    const pass = passes.next(command)
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, group, hasParams ? [slot] : [])
    pass.dispatchWorkgroups(...workgroups)
    this.#dispatches++
  }

  /** @internal Compiles kernels in parallel before they are first used. */
  async prepare(kernels: Iterable<Kernel>): Promise<void> {
    const connection = this.#connection
    try {
      await Promise.race([connection.pipelines.prepare(kernels), connection.lost])
    } catch (error) {
      await soon(connection.lost)
      throw connection.reason ?? error
    }
    if (connection.reason) throw connection.reason
  }

  /** Submits what eager code has enqueued. */
  flush(): void {
    const passes = this.#passes
    if (!passes) return
    const batch = this.#batch
    this.#passes = undefined
    this.gpu.queue.writeBuffer(
      this.#connection.uniforms,
      0,
      this.#uniformData,
      0,
      batch.length * UNIFORM_STRIDE,
    )
    this.submit(passes, batch)
    this.#batch = []
    this.#batchMs = 0
  }

  /** @internal Finishes and submits an encoder; its errors are blamed on one of `batch`. */
  submit(work: Submission, batch: readonly Command[]): void {
    this.#submits++
    const scopes = ['validation', 'out-of-memory', 'internal'] as const
    scopes.forEach((filter) => this.gpu.pushErrorScope(filter))
    this.gpu.queue.submit([work.finish()])
    work.submitted?.()
    if (batch.length > 0) this.budget.submitted(batch, this.gpu.queue.onSubmittedWorkDone())
    const what = (message: string): string => culprit(batch, message)
    scopes.forEach(() => this.#check(this.gpu.popErrorScope(), what))
  }

  #check(error: Promise<GPUError | null>, what: (message: string) => string): void {
    this.#follow(
      error.then((found) => {
        if (found) this.#error ??= typedError(found, undefined, what(found.message))
      }),
    )
  }

  /** Keeps a check until it is done; it fails only when the device is lost, which is told by itself. */
  #follow(work: Promise<void>): void {
    const check = work.catch(() => {})
    this.#checks.add(check)
    void check.then(() => this.#checks.delete(check))
  }

  /** Copies a tensor to the host. */
  async read<D extends Dtype>(tensor: Tensor<D>): Promise<ArrayOf<D>> {
    if (this.recording) {
      throw new KeeplightError(
        'usage',
        'read: nothing has run while a plan is recorded; read its outputs',
      )
    }
    this.assertUsable('read')
    this.assertAllocated([tensor.allocation])
    assertHeld(tensor.allocation, tensor.offset, tensor.byteLength, `read: ${tensor.toString()}`)
    this.flush()
    const size = Math.ceil(tensor.byteLength / 4) * 4
    const staging = this.gpu.createBuffer({ label: 'keeplight readback', size, usage: STAGING })
    const encoder = this.gpu.createCommandEncoder({ label: 'keeplight readback' })
    const { buffer, offset } = tensor.allocation
    encoder.copyBufferToBuffer(buffer.gpu, offset + tensor.offset, staging, 0, size)
    this.submit(encoder, [])
    try {
      await this.#orLost(staging.mapAsync(1))
      await this.#settle()
      return arrayOf(tensor.dtype, staging.getMappedRange().slice(0), tensor.size)
    } finally {
      staging.destroy()
    }
  }

  /**
   * Runs `body` and times every dispatch that it enqueues, eager or by a plan, with GPU timestamps.
   * Each gets a compute pass of its own meanwhile, so the whole takes longer; results stay the same.
   *
   * @throws KeeplightError `device` when the adapter has no timestamps
   */
  async profile(body: () => unknown): Promise<Profile> {
    this.assertUsable('profile')
    if (this.recording || this.#profiler) {
      const what = this.recording ? 'a plan is being recorded' : 'another profile is being taken'
      throw new KeeplightError('usage', `profile: ${what}; take one profile at a time`)
    }
    this.flush()
    const profiler = new Profiler(this)
    this.#profiler = profiler
    try {
      await body()
    } finally {
      this.flush()
      this.#profiler = undefined
    }
    try {
      await this.sync()
      return await profiler.result()
    } finally {
      profiler.destroy()
    }
  }

  /** Waits until everything enqueued has run, and throws the first error it caused. */
  async sync(): Promise<void> {
    this.assertUsable('sync')
    this.flush()
    const { gpu } = this
    await this.#orLost(gpu.queue.onSubmittedWorkDone())
    // Work counts as done on a lost device too, before the loss is told; a map fails there.
    const probe = gpu.createBuffer({ label: 'keeplight sync', size: 4, usage: STAGING })
    await this.#orLost(probe.mapAsync(1)).finally(() => probe.destroy())
    await this.#settle()
  }

  /** @internal Resolves when at most `submits` are in flight. */
  ahead(submits: number): Promise<void> {
    return this.#orLost(this.budget.ahead(submits))
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#checks)
    this.assertUsable('sync')
    if (this.#error instanceof OutOfMemoryError) {
      // Commands that used the buffer fail as well; that is no news when it arrives.
      await this.gpu.queue.onSubmittedWorkDone().catch(() => {})
      await Promise.all(this.#checks)
    }
    const error = this.#error
    this.#error = undefined
    if (error) throw error
  }

  /** `work`, or a rejection with the reason as soon as the device is lost. */
  async #orLost<T>(work: Promise<T>): Promise<T> {
    const connection = this.#connection
    let failed: unknown
    const result = await Promise.race([
      work.catch((error: unknown) => {
        failed = error
        return undefined
      }),
      connection.lost,
    ])
    // A failed map is often the first sign of an earlier error, or of a loss that is about to be told.
    if (failed !== undefined) {
      await soon(connection.lost)
      await Promise.all(this.#checks)
      const error = connection.reason ?? this.#error
      this.#error = undefined
      throw error ?? new KeeplightError('internal', `GPU work failed: ${String(failed)}`)
    }
    // What was begun on a lost device never ends on the one that took its place.
    if (connection.reason) throw connection.reason
    return result as T
  }

  /**
   * @internal Puts a new GPU device in the place of a lost one: its memory again, filled where the host
   * has a source, and its pipelines. What was enqueued and has not run is dropped.
   */
  async reconnect(gpu: GPUDevice): Promise<void> {
    const kernels = this.#connection.pipelines.kernels()
    this.#batch = []
    this.#batchMs = 0
    this.#passes = undefined
    this.#checks.clear()
    this.#error = undefined
    this.#pool.trim()
    this.#connection = this.#connect(gpu)
    this.#generation++
    for (const buffer of this.#buffers) {
      const { size, label } = buffer
      buffer.replace(this.#createBuffer(size, label, 'recoverDevice', () => buffer))
    }
    this.#constants.forEach((allocation) => this.restore(allocation))
    await this.#reload([...this.#constants])
    await this.sync()
    await this.prepare(kernels)
  }

  /** @internal */
  assertUsable(op: string): void {
    if (this.#closed) {
      throw new KeeplightError('disposed', `${op}: the device was closed; create another`)
    }
    if (this.loss) throw this.loss
  }

  stats(): DeviceStats {
    return {
      ...this.#pool.stats(),
      ...this.budget.stats(),
      dispatches: this.#dispatches,
      submits: this.#submits,
      pipelines: this.#connection.pipelines.size,
    }
  }

  /** Destroys the buffers that wait for reuse. */
  trim(): void {
    this.flush()
    this.#pool.trim()
  }

  /** Frees all memory and destroys the device; Node can exit then. Safe to call twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#pool.destroy()
    this.#connection.uniforms.destroy()
    this.gpu.destroy()
  }
}

export interface DeviceOptions {
  /** Where adapters come from: `navigator.gpu` by default in a page, Dawn in Node. */
  readonly gpu?: GPU
  readonly powerPreference?: GPUPowerPreference
}

/**
 * Creates a device in a page, or from any WebGPU implementation given as `gpu`.
 *
 * @throws KeeplightError `device` when there is no WebGPU or no adapter
 */
export async function createDevice(options: DeviceOptions = {}): Promise<Device> {
  const gpu = options.gpu ?? (globalThis.navigator as Navigator | undefined)?.gpu
  if (!gpu) {
    throw new KeeplightError(
      'device',
      'no WebGPU here: navigator.gpu is missing; use a browser with WebGPU over https or localhost',
    )
  }
  const powerPreference = options.powerPreference ?? 'high-performance'
  const request = (): Promise<GPUAdapter | null> => gpu.requestAdapter({ powerPreference })
  const adapter = await request()
  if (!adapter) {
    throw new KeeplightError(
      'device',
      'WebGPU found no adapter: is hardware acceleration on, and the graphics driver current?',
    )
  }
  return Device.fromAdapter(adapter, request)
}
