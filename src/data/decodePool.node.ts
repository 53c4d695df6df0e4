import { Worker } from 'node:worker_threads'
import { KeeplightError } from '../runtime/errors.ts'
import type {
  ReadableContent,
  WorkerConfig,
  WorkerJob,
  WorkerReply,
} from './decodeMessages.node.ts'
import { blockLoaders } from './loaders.node.ts'

/** What became of one image: the worker's result, or why there is none. */
export type PoolOutcome<T> = { readonly result: T } | { readonly error: string }

interface Task {
  readonly content: ReadableContent
  readonly resolve: (outcome: PoolOutcome<never>) => void
  readonly reject: (error: unknown) => void
}

interface Slot {
  readonly worker: Worker
  task?: Task
  watchdog?: NodeJS.Timeout
  ready: boolean
  closing: boolean
}

export interface PoolOptions {
  readonly workers: number
  readonly workerUrl: URL
  readonly config: WorkerConfig
  /** Longest time for one image, in milliseconds, before its thread is ended. */
  readonly fileTimeout: number
}

/**
 * A fixed number of decoding threads. A thread that dies or hangs costs the image that it had: the
 * image is reported with the reason, and a fresh thread takes the dead one's place.
 */
export class DecodePool {
  private readonly options: PoolOptions
  private readonly slots = new Set<Slot>()
  private readonly waiting: Task[] = []
  private failure: KeeplightError | undefined
  private nextId = 0

  constructor(options: PoolOptions) {
    this.options = options
    blockLoaders()
    for (let i = 0; i < options.workers; i++) this.spawn()
  }

  /**
   * Queues one image, whose bytes go to the thread and are gone here. Rejects only when the threads
   * cannot run at all, or the pool was closed.
   */
  run<T>(content: ReadableContent): Promise<PoolOutcome<T>> {
    return new Promise((resolve, reject) => {
      if (this.failure) reject(this.failure)
      else {
        this.waiting.push({ content, resolve, reject })
        this.assign()
      }
    })
  }

  /** Ends all threads; images still queued are rejected as `aborted`. */
  async close(): Promise<void> {
    this.fail(new KeeplightError('aborted', 'decoding was stopped'))
    await Promise.all([...this.slots].map((slot) => this.end(slot)))
  }

  private spawn(): void {
    const { workerUrl, config } = this.options
    const worker = new Worker(workerUrl, { workerData: config, name: 'keeplight decode' })
    const slot: Slot = { worker, ready: false, closing: false }
    this.slots.add(slot)
    worker.on('message', (reply: WorkerReply) => {
      if ('ready' in reply) slot.ready = true
      else this.settle(slot, 'error' in reply ? { error: reply.error } : (reply as never))
      this.assign()
    })
    // 'exit' follows 'error', so the reason is kept for it.
    let reason = ''
    worker.on('error', (error) => (reason = error.message))
    worker.on('exit', (code) => this.onExit(slot, reason || `exit code ${code}`))
  }

  private assign(): void {
    for (const slot of this.slots) {
      if (!slot.ready || slot.task || slot.closing) continue
      const task = this.waiting.shift()
      if (!task) return
      slot.task = task
      slot.watchdog = setTimeout(() => this.giveUp(slot), this.options.fileTimeout)
      const { content, transfer } = handOver(task.content)
      slot.worker.postMessage({ id: this.nextId++, content } satisfies WorkerJob, transfer)
    }
  }

  private settle(slot: Slot, outcome: PoolOutcome<never>): void {
    clearTimeout(slot.watchdog)
    const { task } = slot
    slot.task = undefined
    task?.resolve(outcome)
  }

  private giveUp(slot: Slot): void {
    const seconds = this.options.fileTimeout / 1000
    this.settle(slot, { error: `decoding took longer than ${seconds} s and was given up` })
    void this.end(slot)
    if (!this.failure) this.spawn()
  }

  private onExit(slot: Slot, reason: string): void {
    this.slots.delete(slot)
    if (slot.closing || this.failure) return
    if (!slot.ready) {
      this.fail(
        new KeeplightError(
          'internal',
          `the decoding thread ${this.options.workerUrl.href} could not start: ${reason}. ` +
            'Reinstall Keeplight, or run "npm run build" in a checkout.',
        ),
      )
      return
    }
    this.settle(slot, { error: `the decoder crashed on this file (${reason})` })
    this.spawn()
    this.assign()
  }

  private async end(slot: Slot): Promise<void> {
    slot.closing = true
    clearTimeout(slot.watchdog)
    await slot.worker.terminate()
    this.slots.delete(slot)
  }

  private fail(error: KeeplightError): void {
    this.failure ??= error
    for (const slot of this.slots) {
      clearTimeout(slot.watchdog)
      slot.task?.reject(error)
      slot.task = undefined
    }
    for (const task of this.waiting.splice(0)) task.reject(error)
  }
}

/** A content as it goes to a thread: what is a part of a larger buffer is copied out of it first. */
function handOver(content: ReadableContent): {
  content: ReadableContent
  transfer: ArrayBuffer[]
} {
  if ('file' in content) return { content, transfer: [] }
  if ('bytes' in content) {
    const bytes = ownBytes(content.bytes)
    return { content: { bytes }, transfer: [bytes.buffer] }
  }
  const data = ownBytes(content.pixels.data)
  return { content: { pixels: { ...content.pixels, data } }, transfer: [data.buffer] }
}

function ownBytes(data: Uint8Array | Uint8ClampedArray): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = data
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength
    ? new Uint8Array(buffer)
    : new Uint8Array(data)
}
