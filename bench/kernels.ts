/**
 * Speed of every kernel at the shapes that the product runs it at, beside the adapter's own limits.
 *
 *   npm run bench:kernels -- [--filter TEXT] [--all] [--rounds N] [--budget MS] [--json FILE]
 */
import { createDevice, DEFAULT_MODEL, KeeplightError, loadModel } from '../src/index.node.ts'
import { furtherCases, standardCases } from './kernels/cases.ts'
import { Bench, type KernelResult } from './kernels/measure.ts'
import { scpTrainingStep, vitForward, type WholeCase } from './kernels/whole.ts'
import {
  circumstances,
  describeAdapter,
  readOptions,
  runMain,
  wholeNumber,
  writeWhole,
} from './options.ts'

const optionTable = {
  filter: { value: 'TEXT', help: 'only what has this in its name or use' },
  all: { help: 'also the shapes of CLIP B/32, k-means and the neighbour search' },
  rounds: { value: 'N', default: '3', help: 'times that everything is measured; the best counts' },
  budget: { value: 'MS', default: '50', help: 'milliseconds of a batch, of about 5 in a round' },
  model: { value: 'FILE', help: 'weights of the encoder; left out: keeplight-tiny' },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: { value: 'FILE', help: 'writes the results' },
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
    const cases = [...standardCases, ...(options.all ? furtherCases : [])].filter((item) => {
      return wanted(`${item.kernel} ${item.use}`)
    })
    const model = await loadModel(options.model ?? DEFAULT_MODEL, { device })
    const plans = [vitForward(model, 32), scpTrainingStep(10_000, 192, 10, 512)].filter((plan) => {
      return wanted(plan.name)
    })
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
    const whole = plans.map((plan) => {
      const seconds = bench.best(plan.name)
      const gflops = plan.flops / seconds / 1e9
      const { name, images } = plan
      const imagesPerSecond = images && images / seconds
      const fraction = gflops / limits.fmaGflops
      return { name, seconds, dispatches: dispatches.get(plan)!, gflops, fraction, imagesPerSecond }
    })
    console.log(
      `limits: FMA loop ${format(limits.fmaGflops)} GFLOP/s, ` +
        `copy of 32 MiB ${format(limits.copyGBs)} GB/s; best of ${rounds} rounds\n`,
    )
    if (kernels.length > 0) printRow(['kernel', 'shape', 'use', 'µs', 'rate', 'of limit'])
    kernels.forEach(printKernel)
    if (kernels.length > 0 && whole.length > 0) console.log('')
    whole.forEach(printWhole)
    if (options.json) {
      const settings = { budget, rounds }
      const results = { ...circumstances(device, options.date), settings, limits, kernels, whole }
      await writeWhole(options.json, JSON.stringify(results, undefined, 2))
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
  readonly gflops: number
  /** Share of the FMA loop's GFLOP/s. */
  readonly fraction: number
  readonly imagesPerSecond: number | undefined
}

function printWhole(result: WholeResult): void {
  const { name, seconds, dispatches, gflops, fraction, imagesPerSecond } = result
  const images = imagesPerSecond ? `${format(imagesPerSecond)} images/s, ` : ''
  console.log(
    `${name}: ${format(seconds * 1000)} ms, ${images}${dispatches} dispatches, ` +
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
