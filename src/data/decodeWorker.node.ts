import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { checkPixels, preprocess, type Pixels } from '../model/preprocess.ts'
import { appearanceOf, packAppearance } from './appearance.ts'
import { prepareViews } from './augment.ts'
import {
  decodeErrorMessage,
  decodePixels,
  encodePixelThumbnail,
  encodeThumbnail,
} from './decodeImage.node.ts'
import type { DecodedPixels, Thumbnail } from './decodeImage.node.ts'
import { maximumFileBytes } from './limits.ts'
import { rawEdge } from './decodeMessages.node.ts'
import { viewPicture, type ViewPicture } from './viewPicture.ts'
import type {
  LookResult,
  ReadableContent,
  ViewsResult,
  WorkerConfig,
  WorkerJob,
  WorkerReply,
} from './decodeMessages.node.ts'

const port = parentPort
if (!port) throw new Error('decodeWorker is a worker thread of decodeCollection, not a program')
const config = workerData as WorkerConfig

port.on('message', (job: WorkerJob) => void answer(job, port))
port.postMessage({ ready: true } satisfies WorkerReply)

async function answer({ id, content }: WorkerJob, port: MessagePort): Promise<void> {
  try {
    const source = await sourceOf(content)
    const { result, transfer } = await make(source)
    port.postMessage({ id, result } satisfies WorkerReply, transfer)
  } catch (error) {
    port.postMessage({ id, error: decodeErrorMessage(error) } satisfies WorkerReply)
  }
}

function make(source: Source): Promise<Made<ViewsResult | LookResult | Thumbnail>> {
  if (config.kind === 'views') return makeViews(source, config)
  if (config.kind === 'appearance') return lookAt(source, config)
  return makeThumbnail(source, config.height)
}

/** An image file's bytes, or pixels that need no decoding. */
type Source = Uint8Array | Pixels

async function sourceOf(content: ReadableContent): Promise<Source> {
  if ('file' in content) return readWhole(content.file)
  if ('bytes' in content) return content.bytes
  checkPixels(content.pixels)
  return content.pixels
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
  source: Source,
  { preprocess: model, views, seed, known, ...asked }: Extract<WorkerConfig, { kind: 'views' }>,
): Promise<Made<ViewsResult>> {
  const digest = digestOf(source)
  const hash = digest.toString('hex')
  if (known.has(hash)) return { result: { hash }, transfer: [] }
  const pixels = await decoded(source, asked.reduce ? 4 * model.resize : undefined)
  // Views follow from the content, so that they don't depend on a file's place in the folder.
  const stream = digest.readUInt32LE(0)
  const picture = asked.pictures ? viewPicture(pixels, model, stream) : undefined
  const prepared = picture ? new Uint8Array() : prepareViews(pixels, model, { views, seed, stream })
  const small = { ...model, size: rawEdge, resize: rawEdge }
  const raw = ownBytes(asked.raw ? preprocess(pixels, small).data : new Uint8Array())
  const look = asked.look ? packedLook(source, pixels) : new Uint8Array()
  const { originalWidth: width, originalHeight: height, orientation } = pixels
  return {
    result: {
      hash,
      image: {
        views: prepared,
        raw,
        width,
        height,
        orientation,
        look,
        ...(picture && { picture }),
      },
    },
    transfer: [
      ...[prepared, raw, look].map(({ buffer }) => buffer as ArrayBuffer),
      ...picturesBuffer(picture),
    ],
  }
}

async function lookAt(
  source: Source,
  { reduceTo, known }: Extract<WorkerConfig, { kind: 'appearance' }>,
): Promise<Made<LookResult>> {
  const hash = digestOf(source).toString('hex')
  if (known.has(hash)) return { result: { hash }, transfer: [] }
  const look = packedLook(source, await decoded(source, reduceTo))
  return { result: { hash, look }, transfer: [look.buffer as ArrayBuffer] }
}

function packedLook(source: Source, pixels: DecodedPixels): Uint8Array {
  const { originalWidth: width, originalHeight: height } = pixels
  const bytes = source instanceof Uint8Array ? source.length : source.data.length
  return packAppearance(appearanceOf(pixels, { width, height, bytes }))
}

async function decoded(source: Source, reduceTo: number | undefined): Promise<DecodedPixels> {
  return source instanceof Uint8Array ? decodePixels(source, reduceTo) : asDecoded(source)
}

/** The buffer that a picture has to itself; pixels that stay as they are may share theirs. */
const picturesBuffer = (picture: ViewPicture | undefined): ArrayBuffer[] =>
  picture && 'data' in picture ? [picture.data.buffer] : []

/** SHA-256 of a file's bytes; of pixels, with their size before them. */
function digestOf(source: Source): Buffer {
  const hash = createHash('sha256')
  if (source instanceof Uint8Array) return hash.update(source).digest()
  const { width, height, data } = source
  return hash.update(`keeplight pixels ${width}x${height}\n`).update(data).digest()
}

function asDecoded(pixels: Pixels): DecodedPixels {
  const { width: originalWidth, height: originalHeight } = pixels
  return { ...pixels, originalWidth, originalHeight, orientation: 1 }
}

async function makeThumbnail(source: Source, height: number): Promise<Made<Thumbnail>> {
  const made =
    source instanceof Uint8Array
      ? await encodeThumbnail(source, height)
      : await encodePixelThumbnail(source, height)
  const own = ownBytes(made.bytes)
  return { result: { ...made, bytes: own }, transfer: [own.buffer as ArrayBuffer] }
}

/** Bytes whose buffer is theirs alone and may be handed to another thread. */
function ownBytes(bytes: Uint8Array | Uint8ClampedArray): Uint8Array {
  return new Uint8Array(bytes)
}
