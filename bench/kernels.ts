/**
 * Speed of every kernel at the shapes that the product runs it at, beside the adapter's own limits.
 *
 *   npm run bench:kernels -- [--filter TEXT] [--all] [--budget MS] [--json FILE]
 */
import { createDevice, KeeplightError } from '../src/index.node.ts'
import { furtherCases, standardCases } from './kernels/cases.ts'
import { Bench, type KernelResult } from './kernels/measure.ts'
import { timeScpStep, timeVit, type WholeResult } from './kernels/whole.ts'
import {
  circumstances,
  describeAdapter,
  readOptions,
  runMain,
  wholeNumber,
  writeWhole,
} from './options.ts'

const optionTable = {
  filter: { value: 'TEXT', help: 'only kernels whose name or use contains this' },
  all: { help: 'also the shapes of CLIP B/32, k-means and the neighbour search' },
  budget: {
    value: 'MS',
    default: '100',
    help: 'milliseconds of a batch; each kernel takes about 5',
  },
  model: { value: 'FILE', help: 'weights of the encoder; left out: keeplight-tiny' },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: { value: 'FILE', help: 'writes the results' },
  date: { value: 'TEXT', help: 'noted in the JSON' },
}

async function main(): Promise<number> {
  const options = readOptions('Speed of the kernels.', optionTable)
  if (!options) return 0
  const budget = wholeNumber('budget', options.budget!)
  const filter = options.filter?.toLowerCase() ?? ''
  const wanted = (...names: string[]): boolean =>
    names.some((name) => name.toLowerCase().includes(filter))
  const cases = [...standardCases, ...(options.all ? furtherCases : [])].filter(({ kernel, use }) =>
    wanted(kernel, use),
  )
  const device = await createDevice({ adapter: options.adapter })
  try {
    console.log(`adapter: ${describeAdapter(device)}; matmul variant ${device.matmulVariant}`)
    const bench = await Bench.create(device, budget)
    const { speed } = bench
    console.log(
      `limits: FMA loop ${format(speed.fmaGflops)} GFLOP/s, copy ${format(speed.copyGBs)} GB/s ` +
        `(32 MiB); matmul 512×512×512 ${format(speed.matmulGflops)} GFLOP/s\n`,
    )
    const kernels: KernelResult[] = []
    const whole: WholeResult[] = []
    if (cases.length > 0) printRow(['kernel', 'shape', 'use', 'µs', 'rate', 'of limit'])
    for (const item of cases) {
      const result = await bench.measure(item)
      kernels.push(result)
      printKernel(result)
    }
    const settings = { budget, fmaGflops: speed.fmaGflops }
    if (wanted('whole ViT forward')) {
      whole.push(await timeVit(device, options.model, 32, settings))
    }
    if (wanted('whole SCP step')) {
      const sizes = { count: 10_000, dimension: 192, k: 10, batch: 512 }
      whole.push(await timeScpStep(device, sizes, settings))
    }
    if (kernels.length + whole.length === 0) {
      throw new KeeplightError('usage', `--filter ${options.filter} fits no kernel`)
    }
    console.log('')
    whole.forEach(printWhole)
    if (options.json) {
      const results = { ...circumstances(device, options.date), budget, speed, kernels, whole }
      await writeWhole(options.json, JSON.stringify(results, undefined, 2))
    }
    return 0
  } finally {
    device.close()
  }
}

const widths = [28, 17, 26]

function printRow(cells: readonly string[]): void {
  console.log(
    cells.map((cell, i) => (widths[i] ? cell.padEnd(widths[i]) : cell.padStart(12))).join(' '),
  )
}

function printKernel({ kernel, shape, use, seconds, gflops, gbs, fraction }: KernelResult): void {
  const rate = gflops === undefined ? `${format(gbs!)} GB/s   ` : `${format(gflops)} GFLOP/s`
  printRow([kernel, shape, use, format(seconds * 1e6), rate.padStart(12), percent(fraction)])
}

function printWhole(result: WholeResult): void {
  const { name, seconds, dispatches, gflops, fraction, imagesPerSecond } = result
  const images = imagesPerSecond ? `${format(imagesPerSecond)} images/s, ` : ''
  console.log(
    `${name}: ${format(seconds * 1000)} ms, ${images}${dispatches} dispatches, ` +
      `${format(gflops)} GFLOP/s, ${percent(fraction)} of the FMA loop`,
  )
}

/** Three significant digits, never in exponents. */
const format = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value.toPrecision(3).replace(/e.*/, '')

const percent = (fraction: number): string => `${(100 * fraction).toFixed(1)} %`

await runMain('kernels', main)
