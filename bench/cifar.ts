/**
 * SCP against k-means on CIFAR-10, beside the reference's figures on the same features.
 *
 *   npm run eval:cifar -- --features FILE | --data DIR [--images 300,1000,10000] …
 *
 * Exit code 0: every verdict holds; 1: one does not; 2: it could not run.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDevice, KeeplightError, type Device, type Preset } from '../src/index.node.ts'
import { featureFile, readFeatures, type Dataset } from './cifar/dataset.ts'
import { embedCifar } from './cifar/images.ts'
import {
  runKmeans,
  runScp,
  scoredOnTest,
  taskOf,
  type Run,
  type ScpOptions,
  type ScpRun,
} from './cifar/methods.ts'
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
  preset: { value: 'NAME', default: 'keeplight', help: "SCP's settings: keeplight or paper" },
  'min-steps': { value: 'N', help: 'least steps of a run, for a quick trial' },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: { value: 'FILE', help: 'writes every run; rewritten after each size' },
  date: { value: 'TEXT', help: 'noted in the JSON' },
}

/** Seed of our shuffle of the training images. */
const SHUFFLE_SEED = 0

async function main(): Promise<number> {
  const options = readOptions('SCP against k-means on CIFAR-10.', optionTable)
  if (!options) return 0
  const sizes = wholeNumbers('images', options.images!, 10)
  const seeds = wholeNumber('seeds', options.seeds!)
  const restarts = wholeNumber('restarts', options.restarts!)
  const minSteps = options['min-steps'] && wholeNumber('min-steps', options['min-steps'])
  const scp = { preset: presetOf(options.preset!), minSteps: minSteps || undefined }
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
      const result = await evaluate(device, dataset, count, seeds, restarts, scp)
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

/**
 * Repeats k-means and SCP at one size. Seed s of SCP is its runs s·restarts … s·restarts +
 * restarts − 1, what `cluster` with that many restarts does from the first of these seeds; running
 * them singly gives the score of each.
 */
async function evaluate(
  device: Device,
  dataset: Dataset,
  count: number,
  seeds: number,
  restarts: number,
  options: ScpOptions,
): Promise<SizeResult> {
  const task = taskOf(dataset, count)
  const kmeansRuns: Run[] = []
  for (let seed = 0; seed < seeds; seed++) kmeansRuns.push(await runKmeans(device, task, seed))
  const scpRuns: ScpRun[] = []
  for (let seed = 0; seed < seeds * restarts; seed++) {
    scpRuns.push(await runScp(device, task, seed, options))
    printProgress(`SCP runs at n = ${count}`, seed + 1, seeds * restarts)
  }
  const kept = Array.from({ length: seeds }, (_, seed) => {
    const group = scpRuns.slice(seed * restarts, (seed + 1) * restarts)
    return group.reduce((best, run) => (run.inertia < best.inertia ? run : best))
  })
  const { preset } = options
  const runs = { count, preset, restarts, onTest: scoredOnTest(count), kmeansRuns, scpRuns, kept }
  const comparable = dataset.isReferenceOrder || scoredOnTest(count)
  return { ...runs, verdicts: judge(runs, comparable) }
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

let lastShown = 0

/** A line that rewrites itself on a terminal; nothing in a log. */
function printProgress(what: string, done: number, total: number): void {
  if (!process.stderr.isTTY) return
  if (done < total && performance.now() - lastShown < 200) return
  lastShown = performance.now()
  process.stderr.write(`\r\x1b[K${done < total ? `${what}: ${done} of ${total}` : ''}`)
}

await runMain('cifar', main)
