import { describeAdapter, requestGpu } from './adapter.ts'
import type { Device } from './device.ts'
import { KeeplightError } from './errors.ts'
import { soon } from './loss.ts'

/** Chrome turns WebGPU off for a host whose GPU process goes down twice within two minutes. */
const CALM_MS = 130_000

/**
 * When to ask for a device again: at once after a loss, but after a second one within Chrome's two
 * minutes only when they have passed, since Chrome gives no adapter before and a third one would
 * take WebGPU from every page.
 */
export class RetryTimes {
  readonly #now: () => number
  #last = -Infinity
  #notBefore = -Infinity

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Takes note of a loss that the browser counts too; a `destroy()` is none. */
  lost(): void {
    const now = this.#now()
    if (now - this.#last < CALM_MS) this.#notBefore = now + CALM_MS
    this.#last = now
  }

  /** Milliseconds to wait before a device is asked for again. */
  wait(): number {
    return Math.max(0, this.#notBefore - this.#now())
  }
}

export interface RecoverOptions {
  /**
   * What to do when Chrome's two minutes have to pass first: wait for them (the default), or throw
   * `device-lost` with the time to come back.
   */
  readonly patient?: boolean
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined
}

const times = new WeakMap<Device, RetryTimes>()
const running = new WeakMap<Device, Promise<void>>()

/**
 * Brings a lost device back to life: a new adapter and GPU device within the same {@link Device}, so
 * that tensors, models and plans stay usable.
 *
 * Pipelines compile again, buffers are made again, and constants (weights of models, constants of
 * plans) are filled from their copies on the host. Every other tensor is lost until it is written:
 * using it throws `device-lost`. Training states come back with the snapshot that is written to them.
 *
 * Does nothing when the device is not lost. Calls at the same time share one recovery.
 *
 * @throws KeeplightError `disposed` when the device was closed, `device` when no adapter of the same
 *   kind comes back, `device-lost` when the new device is lost as well, `aborted` by the signal
 */
export function recoverDevice(device: Device, options: RecoverOptions = {}): Promise<void> {
  let recovery = running.get(device)
  if (!recovery) {
    recovery = recover(device, options).finally(() => running.delete(device))
    running.set(device, recovery)
  }
  return recovery
}

async function recover(device: Device, { patient = true, signal }: RecoverOptions): Promise<void> {
  const loss = device.loss ?? (await soon(device.lost))
  if (!loss) return
  if (loss.code !== 'device-lost') throw loss
  const { requestAdapter } = device
  if (!requestAdapter) {
    throw new KeeplightError(
      'device',
      'recoverDevice: this device was made from an adapter that was given, which works once; ' +
        'pass Device.fromAdapter a function that asks for it again',
      { cause: loss },
    )
  }
  const retry = times.get(device) ?? new RetryTimes()
  times.set(device, retry)
  if (countsWithBrowser(loss)) retry.lost()
  await pause(retry.wait(), patient, signal, loss)

  const adapter = await requestAdapter()
  if (!adapter) {
    throw new KeeplightError(
      'device',
      'recoverDevice: no adapter came back; a browser that saw two losses within two minutes gives ' +
        `none for a while, or until it is restarted (${loss.message})`,
      { cause: loss },
    )
  }
  assertSameKind(device, adapter, loss)
  const gpu = await requestGpu(adapter)
  if (device.loss?.code === 'disposed') {
    gpu.destroy()
    throw device.loss
  }
  await device.reconnect(gpu)
}

/** Losses by `destroy()` are the page's own doing, and no browser counts them. */
function countsWithBrowser({ cause }: KeeplightError): boolean {
  return (cause as { reason?: string } | undefined)?.reason !== 'destroyed'
}

async function pause(
  ms: number,
  patient: boolean,
  signal: AbortSignal | undefined,
  cause: KeeplightError,
): Promise<void> {
  if (ms <= 0) return
  if (!patient) {
    throw new KeeplightError(
      'device-lost',
      `recoverDevice: the second loss within two minutes; try again in ${Math.ceil(ms / 1000)} s, ` +
        'earlier no browser gives a device',
      { cause },
    )
  }
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(new KeeplightError('aborted', 'recoverDevice: stopped'))
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (signal?.aborted) stop()
    else signal?.addEventListener('abort', stop, { once: true })
  })
}

/** Another GPU, or a software one in its place, would go on with other bits. */
function assertSameKind(device: Device, adapter: GPUAdapter, cause: KeeplightError): void {
  const before = JSON.stringify(device.adapter)
  const after = JSON.stringify(describeAdapter(adapter.info))
  const lacks = device.features.filter((name) => !adapter.features.has(name))
  const limits = Object.entries(device.limits) as [keyof typeof device.limits, number][]
  const less = limits.filter(([name, value]) => adapter.limits[name] < value).map(([name]) => name)
  if (before === after && lacks.length === 0 && less.length === 0) return
  throw new KeeplightError(
    'device',
    `recoverDevice: another adapter came back: ${after}, expected ${before}` +
      (lacks.length + less.length > 0 ? `, short of ${[...lacks, ...less].join(', ')}` : '') +
      '; create another device with createDevice() and load what this one held again',
    { cause },
  )
}

/**
 * Runs `work`, and after a loss of the device recovers it and runs `work` again, from wherever that
 * finds it should go on. Gives up with the loss's error after `losses` of them.
 */
export async function withRecovery<R>(
  device: Device,
  work: () => Promise<R>,
  { losses = 3, ...options }: RecoverOptions & { readonly losses?: number } = {},
): Promise<R> {
  for (let seen = 0; ; seen++) {
    const { generation } = device
    try {
      return await work()
    } catch (error) {
      const lost = error instanceof KeeplightError && error.code === 'device-lost'
      // A tensor that was lost before throws the same code on a sound device: again would not help.
      const now = device.loss !== undefined || device.generation !== generation
      if (!lost || !now || seen >= losses) throw error
      await recoverDevice(device, options)
    }
  }
}
