/**
 * Speed of every kernel at the shapes that the product runs it at, beside the adapter's own limits.
 *
 *   npm run bench:kernels -- [--shapes product|vit] [--filter TEXT] [--all] [--rounds N]
 *     [--budget MS] [--json [FILE]]
 */
import { createDevice, DEFAULT_MODEL, KeeplightError, loadModel } from '../src/index.node.ts'
import { furtherCases, standardCases, type KernelCase } from './kernels/cases.ts'
import { Bench, type KernelResult } from './kernels/measure.ts'
import { vitShapeCases } from './kernels/vitShapes.ts'
import { scpTrainingStep, vitForward, type WholeCase } from './kernels/whole.ts'
import {
  circumstances,
  describeAdapter,
  readOptions,
  resultsPath,
  runMain,
  wholeNumber,
  writeWhole,
} from './options.ts'

const optionTable = {
  shapes: { value: 'SET', help: 'product (of this program), or vit; left out: both' },
  filter: { value: 'TEXT', help: 'only what has this in its name or use' },
  all: { help: 'also CLIP B/32, k-means, the neighbour search, and large products' },
  rounds: { value: 'N', default: '3', help: 'times that everything is measured; the best counts' },
  budget: { value: 'MS', default: '50', help: 'milliseconds of a batch, of about 5 in a round' },
  model: { value: 'FILE', help: 'weights of the encoder; left out: keeplight-tiny' },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: {
    value: 'FILE',
    optional: true,
    help: 'writes the results; without FILE to bench/results/ADAPTER.json',
  },
  date: { value: 'TEXT', help: 'noted in the JSON' },
}

async function main(): Promise<number> {
  const options = readOptions('Speed of the kernels.', optionTable)
  if (!options) return 0
  const budget = wholeNumber('budget', options.budget!)
  const rounds = wholeNumber('rounds', options.rounds!)
  const filter = options.filter?.toLowerCase() ?? ''
  const wanted = (name: string): boolean => name.toLowerCase().includes(filter)
  const device = await createDevice({ adapter: options.adapter })
  try {
    console.log(`adapter: ${describeAdapter(device)}; kernel variant ${device.kernelVariant}`)
    const all = options.all !== undefined
    const sets: Readonly<Record<string, readonly KernelCase[]>> = {
      product: [...standardCases, ...(all ? furtherCases : [])],
      vit: vitShapeCases(all),
    }
    const shapes = options.shapes ?? ''
    if (shapes !== '' && !(shapes in sets)) {
      throw new KeeplightError('usage', `--shapes is ${shapes}, expected product or vit`)
    }
    const chosen = shapes === '' ? Object.values(sets).flat() : sets[shapes]
    const cases = chosen.filter((item) => wanted(`${item.kernel} ${item.use}`))
    const model = await loadModel(options.model ?? DEFAULT_MODEL, { device })
    const whole = [vitForward(model, 32), scpTrainingStep(10_000, 192, 10, 512)]
    const plans = shapes === 'vit' ? [] : whole.filter((plan) => wanted(plan.name))
    if (cases.length + plans.length === 0) {
      throw new KeeplightError('usage', `--filter ${options.filter} fits no kernel`)
    }

    const bench = new Bench(device, budget)
    const dispatches = new Map<WholeCase, number>()
    for (let round = 0; round < rounds; round++) {
      await bench.limits()
      for (const item of cases) await bench.measure(item)
      for (const plan of plans) {
        dispatches.set(plan, await bench.time(plan.name, (inputs) => plan.prepare(inputs)))
      }
    }
    await bench.limits()
    await model.dispose()

    const limits = bench.bestLimits()
    const kernels = cases.map((item) => bench.result(item))
    const wholeResults = plans.map((plan) => {
      const seconds = bench.best(plan.name)
      const gflops = plan.flops / seconds / 1e9
      const { name, images } = plan
      const imagesPerSecond = images && images / seconds
      const fraction = gflops / limits.fmaGflops
      const counts = { dispatches: dispatches.get(plan)!, dispatchLimit: plan.dispatchLimit }
      return { name, seconds, ...counts, gflops, fraction, imagesPerSecond }
    })
    console.log(
      `limits: FMA loop ${format(limits.fmaGflops)} GFLOP/s, ` +
        `copy of 32 MiB ${format(limits.copyGBs)} GB/s; best of ${rounds} rounds\n`,
    )
    if (kernels.length > 0) printRow(['kernel', 'shape', 'use', 'µs', 'rate', 'of limit'])
    kernels.forEach(printKernel)
    if (kernels.length > 0 && wholeResults.length > 0) console.log('')
    wholeResults.forEach(printWhole)
    if (options.json !== undefined) {
      const settings = { budget, rounds }
      const results = {
        ...circumstances(device, options.date),
        settings,
        limits,
        kernels,
        whole: wholeResults,
      }
      const path = options.json === '' ? resultsPath(device) : options.json
      await writeWhole(path, `${JSON.stringify(results, undefined, 2)}\n`)
      console.log(`\nwritten to ${path}`)
    }
    return 0
  } finally {
    device.close()
  }
}

const widths = [28, 17, 26]

function printRow(cells: readonly string[]): void {
  const padded = cells.map((cell, i) => (widths[i] ? cell.padEnd(widths[i]) : cell.padStart(12)))
  console.log(padded.join(' '))
}

function printKernel({ kernel, shape, use, seconds, gflops, gbs, fraction }: KernelResult): void {
  const rate = gflops === undefined ? `${format(gbs!)} GB/s   ` : `${format(gflops)} GFLOP/s`
  printRow([kernel, shape, use, format(seconds * 1e6), rate, percent(fraction)])
}

interface WholeResult {
  readonly name: string
  /** Of one replay. */
  readonly seconds: number
  readonly dispatches: number
  /** As many as it should need at most. */
  readonly dispatchLimit: number
  readonly gflops: number
  /** Share of the FMA loop's GFLOP/s. */
  readonly fraction: number
  readonly imagesPerSecond: number | undefined
}

function printWhole(result: WholeResult): void {
  const { name, seconds, dispatches, dispatchLimit, gflops, fraction, imagesPerSecond } = result
  const images = imagesPerSecond ? `${format(imagesPerSecond)} images/s, ` : ''
  console.log(
    `${name}: ${format(seconds * 1000)} ms, ${images}${dispatches} dispatches ` +
      `(goal: at most ${dispatchLimit}) in one submit, ` +
      `${format(gflops)} GFLOP/s, ${percent(fraction)} of the FMA loop`,
  )
}

/** Three digits, without an exponent. */
function format(value: number): string {
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(value)))
  return value.toFixed(Number.isFinite(decimals) ? Math.min(decimals, 6) : 0)
}

const percent = (fraction: number): string => `${(100 * fraction).toFixed(1)} %`

await runMain('kernels', main)
