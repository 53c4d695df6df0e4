import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { preprocess } from '../model/preprocess.ts'
import { prepareViews } from './augment.ts'
import {
  decodeErrorMessage,
  decodePixels,
  encodeThumbnail,
  maximumFileBytes,
} from './decodeImage.node.ts'
import type { Thumbnail } from './decodeImage.node.ts'
import { rawEdge } from './decodeMessages.node.ts'
import type { ViewsResult, WorkerConfig, WorkerJob, WorkerReply } from './decodeMessages.node.ts'

const port = parentPort
if (!port) throw new Error('decodeWorker is a worker thread of decodeImages, not a program')
const config = workerData as WorkerConfig

port.on('message', (job: WorkerJob) => void answer(job, port))
port.postMessage({ ready: true } satisfies WorkerReply)

async function answer({ id, path }: WorkerJob, port: MessagePort): Promise<void> {
  try {
    const bytes = await readWhole(path)
    const { result, transfer } =
      config.kind === 'views' ? await makeViews(bytes, config) : await makeThumbnail(bytes, config)
    port.postMessage({ id, result } satisfies WorkerReply, transfer)
  } catch (error) {
    port.postMessage({ id, error: decodeErrorMessage(error) } satisfies WorkerReply)
  }
}

async function readWhole(path: string): Promise<Uint8Array> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    if (size > maximumFileBytes) {
      throw new Error(`the file has ${size} bytes; at most ${maximumFileBytes} are read`)
    }
    if (size === 0) throw new Error('the file is empty')
    return await file.readFile()
  } finally {
    await file.close()
  }
}

interface Made<T> {
  readonly result: T
  readonly transfer: ArrayBuffer[]
}

async function makeViews(
  bytes: Uint8Array,
  { preprocess: model, views, seed, known }: Extract<WorkerConfig, { kind: 'views' }>,
): Promise<Made<ViewsResult>> {
  const digest = createHash('sha256').update(bytes).digest()
  const hash = digest.toString('hex')
  if (known.has(hash)) return { result: { hash }, transfer: [] }
  const pixels = await decodePixels(bytes, 4 * model.resize)
  // Views follow from the content, so that they don't depend on a file's place in the folder.
  const prepared = prepareViews(pixels, model, { views, seed, stream: digest.readUInt32LE(0) })
  const raw = ownBytes(preprocess(pixels, { ...model, size: rawEdge, resize: rawEdge }).data)
  const { originalWidth: width, originalHeight: height, orientation } = pixels
  return {
    result: { hash, image: { views: prepared, raw, width, height, orientation } },
    transfer: [prepared.buffer as ArrayBuffer, raw.buffer as ArrayBuffer],
  }
}

async function makeThumbnail(
  bytes: Uint8Array,
  { height }: Extract<WorkerConfig, { kind: 'thumbnail' }>,
): Promise<Made<Thumbnail>> {
  const made = await encodeThumbnail(bytes, height)
  const own = ownBytes(made.bytes)
  return { result: { ...made, bytes: own }, transfer: [own.buffer as ArrayBuffer] }
}

/** Bytes whose buffer is theirs alone and may be handed to another thread. */
function ownBytes(bytes: Uint8Array | Uint8ClampedArray): Uint8Array {
  return new Uint8Array(bytes)
}
