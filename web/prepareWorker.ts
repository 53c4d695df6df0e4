/** The page's worker: decodes pictures, or draws them, and prepares their views and thumbnails. */
import { decodeImage, drawScene, prepareViews, resizeBicubic, type Pixels } from '../src/index.ts'
import type { PreparedPicture, Thumbnail, WorkerJob, WorkerReply } from './messages.ts'
import type { Source } from './sources.ts'

/** As high as they are shown, or a little more; wide panoramas at most twice as wide. */
const THUMBNAIL = { height: 120, width: 240 }
/** Views are the same wherever and in which order a picture is prepared. */
const VIEW_SEED = 0

addEventListener('message', ({ data }: MessageEvent<WorkerJob>) => void answer(data))

async function answer(job: WorkerJob): Promise<void> {
  try {
    const picture = await prepare(job)
    reply({ id: job.id, picture }, [picture.views.buffer])
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const named = message.startsWith(job.source.path) ? message : `${job.source.path}: ${message}`
    reply({ id: job.id, error: named }, [])
  }
}

function reply(message: WorkerReply, transfer: Transferable[]): void {
  postMessage(message, { transfer })
}

async function prepare({ source, preprocess, views }: WorkerJob): Promise<PreparedPicture> {
  const { pixels, content } = await load(source, 4 * preprocess.resize)
  const digest = await crypto.subtle.digest('SHA-256', content)
  // Views follow from the content, so that they don't depend on a file's place among the others.
  const stream = new DataView(digest).getUint32(0, true)
  return {
    views: prepareViews(pixels, preprocess, { views, seed: VIEW_SEED, stream }),
    thumbnail: await encodeThumbnail(pixels),
  }
}

async function load(
  { path, from }: Source,
  reduceTo: number,
): Promise<{ pixels: Pixels; content: ArrayBuffer }> {
  if (from instanceof File) {
    const pixels = await decodeImage(from, { name: path, reduceTo })
    return { pixels, content: await from.arrayBuffer() }
  }
  const pixels = drawScene(from.scene, from.seed)
  return { pixels, content: new Uint8Array(pixels.data).buffer }
}

async function encodeThumbnail(pixels: Pixels): Promise<Thumbnail> {
  const { width, height } = pixels
  const scale = Math.min(1, THUMBNAIL.height / height, THUMBNAIL.width / width)
  const small =
    scale < 1
      ? resizeBicubic(
          pixels,
          Math.max(1, Math.round(width * scale)),
          Math.max(1, Math.round(height * scale)),
        )
      : pixels
  const image = new ImageData(small.width, small.height)
  for (let i = 0, j = 0; j < image.data.length; j += 4) {
    image.data[j] = small.data[i++]!
    image.data[j + 1] = small.data[i++]!
    image.data[j + 2] = small.data[i++]!
    image.data[j + 3] = 255
  }
  const canvas = new OffscreenCanvas(small.width, small.height)
  canvas.getContext('2d')!.putImageData(image, 0, 0)
  const blob = await canvas.convertToBlob({ type: 'image/webp', quality: 0.85 })
  return { width: small.width, height: small.height, blob }
}
