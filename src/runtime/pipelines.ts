import { kernelSource, type Kernel } from '../kernels/kernel.ts'
import { KeeplightError } from './errors.ts'

export interface Pipeline {
  readonly pipeline: GPUComputePipeline
  readonly layout: GPUBindGroupLayout
  readonly hasParams: boolean
}

/** Pipelines by the text of their kernel; compiles in flight are shared. */
export class PipelineCache {
  readonly #device: GPUDevice
  readonly #onError: (error: Promise<GPUError | null>, what: () => string) => void
  readonly #ready = new Map<string, Pipeline>()
  readonly #kernels = new Map<string, Kernel>()
  readonly #compiling = new Map<string, Promise<Pipeline>>()
  readonly #sources = new WeakMap<Kernel, string>()

  constructor(
    device: GPUDevice,
    onError: (error: Promise<GPUError | null>, what: () => string) => void,
  ) {
    this.#device = device
    this.#onError = onError
  }

  get size(): number {
    return this.#ready.size
  }

  /** What has been compiled here. */
  kernels(): Kernel[] {
    return [...this.#kernels.values()]
  }

  /** The pipeline of a kernel, compiled on the spot if {@link prepare} has not run for it. */
  get(kernel: Kernel): Pipeline {
    const source = this.#source(kernel)
    let pipeline = this.#ready.get(source)
    if (!pipeline) {
      this.#device.pushErrorScope('validation')
      const { descriptor, layout, hasParams } = this.#describe(kernel, source)
      pipeline = { pipeline: this.#device.createComputePipeline(descriptor), layout, hasParams }
      this.#onError(this.#device.popErrorScope(), () => `compiling ${kernel.label}`)
      this.#ready.set(source, pipeline)
      this.#kernels.set(source, kernel)
    }
    return pipeline
  }

  /** Compiles all kernels that have no pipeline yet, in parallel. */
  async prepare(kernels: Iterable<Kernel>): Promise<void> {
    await Promise.all(Array.from(kernels, (kernel) => this.#compile(kernel)))
  }

  async #compile(kernel: Kernel): Promise<Pipeline> {
    const source = this.#source(kernel)
    const ready = this.#ready.get(source)
    if (ready) return ready
    let compiling = this.#compiling.get(source)
    if (!compiling) {
      this.#device.pushErrorScope('validation')
      const { descriptor, layout, hasParams } = this.#describe(kernel, source)
      this.#onError(this.#device.popErrorScope(), () => `compiling ${kernel.label}`)
      compiling = this.#device.createComputePipelineAsync(descriptor).then(
        (pipeline) => {
          const made = { pipeline, layout, hasParams }
          this.#ready.set(source, made)
          this.#kernels.set(source, kernel)
          return made
        },
        (cause: unknown) => {
          this.#compiling.delete(source)
          const reason = cause instanceof Error ? cause.message : String(cause)
          throw new KeeplightError('internal', `compiling ${kernel.label}: ${reason}`, { cause })
        },
      )
      this.#compiling.set(source, compiling)
    }
    return compiling
  }

  #source(kernel: Kernel): string {
    let source = this.#sources.get(kernel)
    if (source === undefined) this.#sources.set(kernel, (source = kernelSource(kernel)))
    return source
  }

  #describe(
    kernel: Kernel,
    code: string,
  ): { descriptor: GPUComputePipelineDescriptor; layout: GPUBindGroupLayout; hasParams: boolean } {
    const { label } = kernel
    const visibility = 4 // GPUShaderStage.COMPUTE, a global that Node lacks
    const entries = Object.values(kernel.bindings).map(({ access }, binding) => {
      const type: GPUBufferBindingType = access === 'read' ? 'read-only-storage' : 'storage'
      return { binding, visibility, buffer: { type } } as GPUBindGroupLayoutEntry
    })
    const hasParams = Object.keys(kernel.params).length > 0
    if (hasParams) {
      const buffer: GPUBufferBindingLayout = { type: 'uniform', hasDynamicOffset: true }
      entries.push({ binding: entries.length, visibility, buffer })
    }
    const layout = this.#device.createBindGroupLayout({ label, entries })
    const module = this.#device.createShaderModule({ label, code })
    return {
      descriptor: {
        label,
        layout: this.#device.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      },
      layout,
      hasParams,
    }
  }
}
