/**
 * How fast a collection of photos becomes features, and what takes the time.
 *
 *   npm run bench:embed -- [--model NAME] [--data DIR] [--batches 1,8,64] [--dtypes f32,f16,int8] …
 *
 * Exit code 0, or 2 when it could not run.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import {
  createDevice,
  drawScene,
  KeeplightError,
  loadModel,
  sceneKinds,
  summarizeProfile,
} from '../src/index.node.ts'
import type { ImageCollection } from '../src/data/collection.ts'
import { decodeCollection } from '../src/data/decode.node.ts'
import { embedCollection } from '../src/data/embedCollection.node.ts'
import { openCollection } from '../src/data/openCollection.node.ts'
import {
  circumstances,
  describeAdapter,
  readOptions,
  runMain,
  wholeNumber,
  wholeNumbers,
  writeWhole,
} from './options.ts'

const optionTable = {
  model: { value: 'NAME', default: 'keeplight-tiny', help: 'name or path of the encoder' },
  data: { value: 'DIR', help: 'a collection of images; left out: scenes are drawn, 640×480 JPEG' },
  images: { value: 'N', default: '256', help: 'images of the collection that are embedded' },
  batches: {
    value: 'LIST',
    default: '1,8,64',
    help: 'images that go through the encoder together',
  },
  dtypes: { value: 'LIST', default: 'f32,f16,int8', help: 'of the weights on the GPU' },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: { value: 'FILE', help: 'writes every figure' },
  date: { value: 'TEXT', help: 'noted in the JSON' },
}

type WeightDtype = 'f32' | 'f16' | 'int8'

interface Row {
  readonly dtype: WeightDtype
  readonly batch: number
  /** Of the whole way: files in, features on disk. */
  readonly imagesPerSecond: number
  /** Milliseconds an image of each part by itself. */
  readonly decodeMs: number
  /** Normalising, uploading, submitting and reading back. */
  readonly uploadMs: number
  readonly computeMs: number
  readonly gpuPeakBytes: number
  readonly hostPeakBytes: number
}

async function main(): Promise<number> {
  const options = readOptions('Images per second of keeplight embed, by part.', optionTable)
  if (!options) return 0
  const images = wholeNumber('images', options.images!, 8)
  const batches = wholeNumbers('batches', options.batches!)
  const dtypes = options.dtypes!.split(',').map(parseDtype)
  const folder = await mkdtemp(join(tmpdir(), 'keeplight-bench-embed-'))
  try {
    if (options.data === undefined) await drawPhotos(join(folder, 'photos'), images)
    const all = await openCollection(options.data ?? join(folder, 'photos'))
    const collection = firstOf(all, images)
    const rows: Row[] = []
    let decodeMs: number | undefined
    let about: ReturnType<typeof circumstances> | undefined
    for (const dtype of dtypes) {
      for (const batch of batches) {
        const device = await createDevice({ adapter: options.adapter })
        const model = await loadModel(options.model!, { device, dtype })
        if (!about) {
          about = circumstances(device, options.date)
          console.log(`adapter: ${describeAdapter(device)}`)
          console.log(`${model.name}, ${collection.files.length} images of ${collection.root}\n`)
          console.log('weights  batch  images/s   decode  upload  compute   GPU peak  host peak')
        }
        const prepared = await decodeAll(collection, model.preprocess)
        decodeMs ??= prepared.milliseconds / collection.files.length
        const host = new PeakMemory()
        await encodeAll(model, prepared.pixels.slice(0, 2 * batch), batch) // plans and pipelines
        const alone = await encodeAll(model, prepared.pixels, batch)
        const profile = await device.profile(() => encodeAll(model, prepared.pixels, batch))
        const computeMs = summarizeProfile(profile).busyMs / collection.files.length
        const start = performance.now()
        await embedCollection(collection, model, {
          ...{
            out: join(folder, `${dtype}-${batch}.safetensors`),
            batch,
            weights: dtype,
            decoding,
          },
        })
        const seconds = (performance.now() - start) / 1000
        const row: Row = {
          ...{ dtype, batch, decodeMs, computeMs },
          imagesPerSecond: collection.files.length / seconds,
          uploadMs: Math.max(0, alone / collection.files.length - computeMs),
          gpuPeakBytes: device.stats().peakBytes,
          hostPeakBytes: host.stop(),
        }
        rows.push(row)
        console.log(describe(row))
        await model.dispose()
        device.close()
      }
    }
    console.log(
      '\nmilliseconds an image, in brackets the share of the whole time that the part was busy; parts ' +
        'overlap,\nso that shares may add up to more than 100 %',
    )
    if (options.json !== undefined) {
      await writeWhole(
        options.json,
        `${JSON.stringify({ ...about, model: options.model, rows }, null, 2)}\n`,
      )
    }
    return 0
  } finally {
    await rm(folder, { recursive: true })
  }
}

function parseDtype(text: string): WeightDtype {
  if (text === 'f32' || text === 'f16' || text === 'int8') return text
  throw new KeeplightError('usage', `--dtypes has ${text}, expected some of f32, f16, int8`)
}

/** The build's decoding thread: this file runs from its TypeScript source. */
const decoding = { workerUrl: new URL('../dist/decodeWorker.node.js', import.meta.url) }

/** JPEGs as a telephone's, smaller. */
async function drawPhotos(folder: string, count: number): Promise<void> {
  await mkdir(folder)
  for (let i = 0; i < count; i++) {
    const { width, height, data } = drawScene(sceneKinds[i % sceneKinds.length]!, i)
    await sharp(data, { raw: { width, height, channels: 3 } })
      .resize(640, 480, { fit: 'cover' })
      .jpeg({ quality: 88 })
      .toFile(join(folder, `${String(i).padStart(5, '0')}.jpg`))
  }
}

/** The first images of a collection, as a collection. */
function firstOf(collection: ImageCollection, count: number): ImageCollection {
  const files = collection.files.slice(0, count)
  return {
    ...collection,
    files,
    read: (indices = [...files.keys()], signal) => collection.read(indices, signal),
  }
}

async function decodeAll(
  collection: ImageCollection,
  preprocess: Parameters<typeof decodeCollection>[1]['preprocess'],
): Promise<{ readonly milliseconds: number; readonly pixels: readonly Uint8Array[] }> {
  const pixels: Uint8Array[] = []
  const start = performance.now()
  for await (const image of decodeCollection(collection, { preprocess, views: 0, ...decoding })) {
    if (image.ok && image.image) pixels.push(image.image.views)
  }
  return { milliseconds: performance.now() - start, pixels }
}

/** Milliseconds of prepared pictures' way through the encoder, two batches in flight. */
async function encodeAll(
  model: Awaited<ReturnType<typeof loadModel>>,
  pictures: readonly Uint8Array[],
  batch: number,
): Promise<number> {
  const start = performance.now()
  let before: Promise<unknown> = Promise.resolve()
  for (let first = 0; first < pictures.length; first += batch) {
    const next = model.embedPixels(Buffer.concat(pictures.slice(first, first + batch)))
    await before
    before = next
  }
  await before
  return performance.now() - start
}

/** The most memory that this process holds while it is asked. */
class PeakMemory {
  #peak = process.memoryUsage.rss()
  readonly #timer = setInterval(() => {
    this.#peak = Math.max(this.#peak, process.memoryUsage.rss())
  }, 50)

  stop(): number {
    clearInterval(this.#timer)
    return Math.max(this.#peak, process.memoryUsage.rss())
  }
}

function describe(row: Row): string {
  const whole = 1000 / row.imagesPerSecond
  const part = (ms: number): string => `${ms.toFixed(1)} (${Math.round((ms / whole) * 100)} %)`
  const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`
  return [
    row.dtype.padEnd(7),
    String(row.batch).padStart(5),
    row.imagesPerSecond.toFixed(1).padStart(9),
    part(row.decodeMs).padStart(12),
    part(row.uploadMs).padStart(12),
    part(row.computeMs).padStart(13),
    mib(row.gpuPeakBytes).padStart(9),
    mib(row.hostPeakBytes).padStart(9),
  ].join('  ')
}

await runMain('bench:embed', main)
