/**
 * SCP and TEMI against k-means on CIFAR-10, beside the reference's figures on the same features.
 *
 *   npm run eval:cifar -- --features FILE | --data DIR [--images 300,1000,10000] …
 *
 * Exit code 0: every verdict holds; 1: one does not; 2: it could not run.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDevice, KeeplightError, type Device, type Preset } from '../src/index.node.ts'
import { featureFile, readFeatures, studyOf, type Dataset } from './cifar/dataset.ts'
import { embedCifar } from './cifar/images.ts'
import {
  methods,
  runMethod,
  scoredOnTest,
  type Method,
  type MethodOptions,
  type MethodRuns,
} from './cifar/methods.ts'
import { printProgress } from './cifar/progress.ts'
import { referenceSource } from './cifar/reference.ts'
import { judge, printSize, type SizeResult } from './cifar/report.ts'
import {
  circumstances,
  describeAdapter,
  readOptions,
  runMain,
  wholeNumber,
  wholeNumbers,
  writeWhole,
} from './options.ts'

const shared = process.env['KEEPLIGHT_SHARED'] ?? '../shared'

const optionTable = {
  features: {
    value: 'FILE',
    help: 'features as safetensors (the golden cifar10-keeplight-tiny.safetensors); no images are read',
  },
  data: {
    value: 'DIR',
    default: join(shared, 'data'),
    help: 'folder of cifar10-train.tar.gz and cifar10-test.tar.gz, embedded unless --features is given',
  },
  model: { value: 'FILE', help: 'weights of the encoder; left out: keeplight-tiny' },
  cache: {
    value: 'DIR',
    default: join(tmpdir(), 'keeplight-cifar'),
    help: 'where the archives are unpacked',
  },
  'save-features': { value: 'FILE', help: 'writes what was embedded, for --features' },
  images: { value: 'LIST', default: '300,1000,10000', help: 'sizes: the first n training images' },
  seeds: { value: 'N', default: '5', help: 'repetitions of each method' },
  restarts: { value: 'N', default: '8', help: 'runs of SCP per repetition, the best is kept' },
  methods: { value: 'LIST', default: methods.join(','), help: 'which, between commas' },
  preset: { value: 'NAME', default: 'keeplight', help: "SCP's settings: keeplight or paper" },
  'temi-heads': { value: 'N', default: '16', help: 'heads of a run of TEMI' },
  'min-steps': { value: 'N', help: 'least steps of a run, for a quick trial' },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: { value: 'FILE', help: 'writes every run; rewritten after each size' },
  date: { value: 'TEXT', help: 'noted in the JSON' },
}

/** Seed of our shuffle of the training images. */
const SHUFFLE_SEED = 0

async function main(): Promise<number> {
  const options = readOptions('SCP and TEMI against k-means on CIFAR-10.', optionTable)
  if (!options) return 0
  const sizes = wholeNumbers('images', options.images!, 10)
  const seeds = wholeNumber('seeds', options.seeds!)
  const restarts = wholeNumber('restarts', options.restarts!)
  const minSteps = options['min-steps'] && wholeNumber('min-steps', options['min-steps'])
  const chosen = methodsOf(options.methods!)
  const preset = presetOf(options.preset!)
  const temiHeads = wholeNumber('temi-heads', options['temi-heads']!)
  const runOptions = { seeds, restarts, preset, temiHeads, minSteps: minSteps || undefined }
  const device = await createDevice({ adapter: options.adapter })
  try {
    console.log(`adapter: ${describeAdapter(device)}`)
    const largest = Math.max(...sizes)
    const dataset = options.features
      ? await readFeatures(options.features)
      : await embedCifar({
          device,
          data: options.data!,
          cache: options.cache!,
          model: options.model,
          count: largest,
          withTest: scoredOnTest(largest),
          shuffleSeed: SHUFFLE_SEED,
          onProgress: printProgress,
        })
    checkSizes(dataset, sizes)
    if (options['save-features']) {
      await writeWhole(options['save-features'], featureFile(dataset, SHUFFLE_SEED))
    }
    console.log(`data: ${dataset.source}`)
    console.log(`reference: ${referenceSource}`)
    if (!dataset.isReferenceOrder) {
      console.log(
        `The images are in our own order (shuffle seed ${SHUFFLE_SEED}): sizes below 10,000 are ` +
          "other images than the reference's and are not compared with it.",
      )
    }
    const results: SizeResult[] = []
    for (const count of sizes) {
      const result = await evaluate(device, dataset, count, chosen, runOptions)
      results.push(result)
      printSize(result)
      if (options.json) {
        const about = { ...circumstances(device, options.date), source: dataset.source }
        await writeWhole(options.json, JSON.stringify({ ...about, sizes: results }, undefined, 2))
      }
    }
    return results.every(({ verdicts }) => verdicts.every(({ holds }) => holds)) ? 0 : 1
  } finally {
    device.close()
  }
}

/** Repeats the methods at one size; of every `restarts` runs of SCP the one of lowest inertia is kept. */
async function evaluate(
  device: Device,
  dataset: Dataset,
  count: number,
  chosen: readonly Method[],
  options: MethodOptions,
): Promise<SizeResult> {
  const onTest = scoredOnTest(count)
  const data = studyOf(dataset, count, onTest)
  const { preset, restarts, seeds } = options
  const found: Partial<Record<Method, MethodRuns>> = {}
  for (const method of chosen) found[method] = await runMethod(method, device, data, options)
  const kept = Array.from({ length: found.scp ? seeds : 0 }, (_, seed) => {
    const own = found.scp!.runs.filter((run) => Math.floor(run.seed / restarts) === seed)
    return own.reduce((best, run) => (run.inertia < best.inertia ? run : best))
  })
  const runs = { count, preset, restarts, onTest, ...found, kept }
  return { ...runs, verdicts: judge(runs, dataset.isReferenceOrder || onTest) }
}

function methodsOf(list: string): Method[] {
  return list.split(',').map((name) => {
    const method = methods.find((known) => known === name)
    if (method) return method
    throw new KeeplightError(
      'usage',
      `--methods has ${name}, expected some of ${methods.join(', ')}`,
    )
  })
}

function presetOf(name: string): Preset {
  if (name === 'keeplight' || name === 'paper') return name
  throw new KeeplightError('usage', `--preset is ${name}, expected keeplight or paper`)
}

function checkSizes({ train, testLabels, source }: Dataset, sizes: readonly number[]): void {
  const largest = Math.max(...sizes)
  if (largest > train.count) {
    throw new KeeplightError(
      'usage',
      `--images asks for ${largest}, but the ${source} are ${train.count}; ask for fewer`,
    )
  }
  if (scoredOnTest(largest) && testLabels.length === 0) {
    throw new KeeplightError(
      'input',
      `the ${source} have no test images, which ${largest} images are scored on`,
    )
  }
}

await runMain('cifar', main)
