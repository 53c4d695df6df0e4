/**
 * Adapts the last blocks of an encoder to labelled images by low-rank branches (LoRA, arXiv 2106.09685),
 * with a linear classifier, end to end; and compares with a linear probe on the frozen features, on
 * images that neither saw.
 *
 *     npx tsx examples/lora.ts photos-by-class
 *     npx tsx examples/lora.ts photos-by-class --model dino-vit-s-16 --blocks 4 --epochs 20
 */
import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import {
  adam,
  adamTable,
  backward,
  classRowsOf,
  cosineSchedule,
  createDevice,
  crossEntropy,
  l2Normalize,
  linear,
  linearProbe,
  loadModel,
  Lora,
  normalizeImages,
  openCollection,
  Parameters,
  permutationKey,
  permuteIndex,
  preprocess,
  randomNormal,
  record,
  scale,
  scope,
  type ImageCollection,
  type LoraOptions,
  type Tensor,
  type VisionModel,
} from '../src/index.node.ts'

/** Prepared pictures and their classes. */
export interface LabelledImages {
  /** S·S·3 bytes each. */
  readonly pixels: readonly Uint8Array[]
  readonly labels: Int32Array
}

export interface TuneOptions extends LoraOptions {
  readonly epochs?: number
  readonly batch?: number
  readonly learningRate?: number
  readonly seed?: number
  readonly onStep?: (step: number, steps: number, loss: number) => void
}

export interface TuneResult {
  /** Share of the held-out images that a linear probe on the frozen features gets right. */
  readonly frozen: number
  /** The same on the adapted features. */
  readonly adapted: number
  /** Loss of every step. */
  readonly losses: readonly number[]
}

/** A cosine times this is a logit. */
const SHARPNESS = 10

/** Trains the branches and a classifier on `train`, and scores features before and after on `test`. */
export async function tune(
  model: VisionModel,
  train: LabelledImages,
  test: LabelledImages,
  options: TuneOptions = {},
): Promise<TuneResult> {
  const { seed = 0 } = options
  const lora = new Lora(model.device, model.encoder, options)
  lora.initialize(seed)
  try {
    // What the frozen blocks give never changes, so it is computed once.
    const [seen, unseen] = [
      await frozenTokens(model, lora, train),
      await frozenTokens(model, lora, test),
    ]
    const score = async (): Promise<number> => {
      const clean = async (tokens: Float32Array[]): Promise<Float32Array> =>
        join(await inBatches(tokens, (part) => adaptedFeatures(model, lora, part)))
      const { device, dimension } = model
      const features = (count: number, clean: Float32Array) => {
        return { count, dimension, views: 0, clean, augmented: new Float32Array() }
      }
      const held = features(unseen.length, await clean(unseen))
      const known = features(seen.length, await clean(seen))
      const probe = { features: held, labels: test.labels }
      const classes = Math.max(...train.labels) + 1
      return (await linearProbe(known, train.labels, { device, classes, seed, test: probe }))
        .accuracy
    }
    const frozen = await score()
    const losses = await trainBranches(model, lora, seen, train.labels, options)
    return { frozen, adapted: await score(), losses }
  } finally {
    lora.dispose()
  }
}

/** Cross-entropy of a linear classifier on the adapted features; one recorded plan, replayed. */
async function trainBranches(
  model: VisionModel,
  lora: Lora,
  tokens: readonly Float32Array[],
  labels: Int32Array,
  { epochs = 10, learningRate = 2e-3, seed = 0, onStep, ...options }: TuneOptions,
): Promise<number[]> {
  const { device, dimension } = model
  const batch = Math.min(options.batch ?? 32, tokens.length)
  const perEpoch = Math.floor(tokens.length / batch)
  const steps = epochs * perEpoch
  const classes = Math.max(...labels) + 1
  const classifier = new Parameters(device, new Map([['weight', [classes, dimension]]]))
  const initial = Float32Array.from({ length: classes * dimension }, (_, i) => {
    return randomNormal(seed, 1, i) / Math.sqrt(dimension)
  })
  classifier.write(new Map([['weight', initial]]))

  const inputs = {
    tokens: device.tensor(new Float32Array(batch * tokens[0]!.length), tokenShape(model, batch)),
    labels: device.tensor(new Uint32Array(batch), [batch]),
    step: device.tensor(new Uint32Array(1), [1]),
  }
  const rows = device.constant(classRowsOf(batch, inputs.tokens.shape[1]!), [batch])
  const schedule = device.constant(adamTable(cosineSchedule(steps, learningRate)), [steps, 4])
  const trained = [lora.parameters, classifier]
  const states = trained.map(({ values }) => ({
    moments: device.tensor(new Float32Array(values.size), [values.size]),
    squares: device.tensor(new Float32Array(values.size), [values.size]),
  }))
  const plan = await record(device, inputs, ({ tokens, labels, step }) => {
    const features = l2Normalize(lora.features(tokens, rows))
    const loss = crossEntropy(linear(scale(features, SHARPNESS), classifier.get('weight')), labels)
    backward(
      loss,
      trained.flatMap((parameters) => parameters.list()),
    )
    trained.forEach((parameters, i) => adam(parameters, states[i]!, schedule, step))
    return { loss }
  })
  const losses: number[] = []
  for (let step = 0; step < steps; step++) {
    const key = permutationKey(seed, Math.floor(step / perEpoch))
    const images = Array.from({ length: batch }, (_, i) => {
      return permuteIndex((step % perEpoch) * batch + i, tokens.length, key)
    })
    plan.run({
      tokens: join(images.map((image) => tokens[image]!)),
      labels: Uint32Array.from(images, (image) => labels[image]!),
      step: Uint32Array.of(step),
    })
    losses.push((await plan.outputs.loss.read())[0]!)
    onStep?.(step + 1, steps, losses.at(-1)!)
  }
  plan.dispose()
  classifier.dispose()
  const made = [
    ...Object.values(inputs),
    rows,
    schedule,
    ...states.flatMap(Object.values),
  ] as Tensor[]
  made.forEach((tensor) => tensor.dispose())
  return losses
}

/** [B, T, D]: tokens of a batch. */
function tokenShape({ encoder, preprocess: { size } }: VisionModel, batch: number): number[] {
  const tokens = encoder.preparePositions(size, size).shape[0]!
  return [batch, tokens, encoder.config.hiddenSize]
}

/** Tokens of every picture as the first adapted block takes them. */
function frozenTokens(
  model: VisionModel,
  lora: Lora,
  { pixels }: LabelledImages,
): Promise<Float32Array[]> {
  const { device, preprocess: config } = model
  const shape = (batch: number): number[] => [batch, config.size, config.size, 3]
  return inBatches(pixels, async (part) => {
    const bytes = new Uint8Array(part.length * part[0]!.length)
    part.forEach((picture, i) => bytes.set(picture, i * picture.length))
    const tokens = scope(() => {
      return lora.frozen(normalizeImages(device.tensor(bytes, shape(part.length)), config))
    })
    return split(await take(tokens), part.length)
  })
}

async function adaptedFeatures(
  model: VisionModel,
  lora: Lora,
  part: readonly Float32Array[],
): Promise<Float32Array[]> {
  const { device } = model
  const shape = tokenShape(model, part.length)
  const features = scope(() => {
    const rows = device.tensor(classRowsOf(part.length, shape[1]!), [part.length])
    return lora.features(device.tensor(join(part), shape), rows)
  })
  return split(await take(features), part.length)
}

async function take(tensor: Tensor<'f32'>): Promise<Float32Array<ArrayBuffer>> {
  const values = await tensor.read()
  tensor.dispose()
  return values
}

async function inBatches<T, R>(
  items: readonly T[],
  run: (part: readonly T[]) => Promise<R[]>,
): Promise<R[]> {
  const results: R[] = []
  for (let i = 0; i < items.length; i += 32) results.push(...(await run(items.slice(i, i + 32))))
  return results
}

function join(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const split = (all: Float32Array<ArrayBuffer>, parts: number): Float32Array<ArrayBuffer>[] =>
  Array.from({ length: parts }, (_, i) => {
    return all.slice((i * all.length) / parts, ((i + 1) * all.length) / parts)
  })

/** Reads a collection and prepares its pictures; every fifth of a class is held out. */
export async function readLabelled(
  collection: ImageCollection,
  model: VisionModel,
): Promise<{ train: LabelledImages; test: LabelledImages }> {
  const { labels } = collection
  if (!labels || collection.classes.length < 2)
    throw new Error('expected a subfolder for each class')
  const parts = [0, 1].map(() => ({ pixels: [] as Uint8Array[], labels: [] as number[] }))
  const seen = new Map<number, number>()
  for await (const { index, content } of collection.read()) {
    if ('unreadable' in content) continue
    const label = labels[index]!
    const place = seen.get(label) ?? 0
    seen.set(label, place + 1)
    const part = parts[place % 5 === 4 ? 1 : 0]!
    const picture = 'pixels' in content ? content.pixels : await decode(content)
    part.pixels.push(Uint8Array.from(preprocess(picture, model.preprocess).data))
    part.labels.push(label)
  }
  const [train, test] = parts.map((part) => ({ ...part, labels: Int32Array.from(part.labels) }))
  return { train: train!, test: test! }
}

async function decode(content: { file: string } | { bytes: Uint8Array }) {
  const bytes = 'file' in content ? await readFile(content.file) : content.bytes
  const image = sharp(bytes, { autoOrient: true }).flatten({ background: '#ffffff' })
  const { data, info } = await image
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data: new Uint8Array(data) }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: { type: 'string', default: 'keeplight-tiny' },
      adapter: { type: 'string' },
      blocks: { type: 'string', default: '2' },
      rank: { type: 'string', default: '4' },
      epochs: { type: 'string', default: '10' },
      lr: { type: 'string', default: '0.002' },
    },
  })
  const [data] = positionals
  if (data === undefined) throw new Error('usage: npx tsx examples/lora.ts DATA [--model NAME]')
  const device = await createDevice({ adapter: values.adapter })
  try {
    const model = await loadModel(values.model, { device })
    const { train, test } = await readLabelled(await openCollection(data), model)
    console.log(`${train.labels.length} images to train on, ${test.labels.length} held out`)
    const { frozen, adapted } = await tune(model, train, test, {
      blocks: Number(values.blocks),
      rank: Number(values.rank),
      epochs: Number(values.epochs),
      learningRate: Number(values.lr),
      onStep: (step, steps, loss) => {
        if (step % 10 === 0 || step === steps)
          console.log(`${step}/${steps}: loss ${loss.toFixed(3)}`)
      },
    })
    const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
    console.log(`linear probe on frozen features: ${percent(frozen)} of the held-out images`)
    console.log(`on adapted features: ${percent(adapted)}`)
  } finally {
    device.close()
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
