import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import {
  calinskiHarabasz,
  codingLength,
  createDevice,
  inertiaOf,
  normalizeRows,
  silhouettes,
} from '../index.node.ts'
import { plainPath } from '../data/csv.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { evenRows } from '../train/chooseK.ts'
import type { Context } from './context.ts'
import { openData } from './openData.ts'
import { readPartition, type PartitionFile } from './partitionFile.ts'
import { agreementOf, compareInDetail, type Agreement, type ClassScore } from './scores.ts'
import { addCommonOptions } from './settings.ts'

interface EvalSettings {
  readonly labels?: string
  readonly features?: string
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

/** Larger tables are in the JSON only. */
const mostClusters = 20
const silhouetteRows = 5_000

/** Adds `keeplight eval`. */
export function addEvalCommand(
  program: Command,
  context: (output: Pick<EvalSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('eval')
    .summary('score a partition of images')
    .description(
      'Compares clusters with labels (ACC, NMI, ARI, by class), or with another partition; with ' +
        'features also without labels.',
    )
    .argument('<assignments>', 'assignments.csv or .json: columns path and cluster')
    .argument('[other]', 'another partition of the same images, to compare with')
    .option(
      '--labels <file>',
      'a .csv or .json with columns path and label, or the images in one folder per class',
    )
    .option(
      '--features <file>',
      'features.safetensors of keeplight embed: silhouette, Calinski-Harabasz, coding length',
    )
  addCommonOptions(command)
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight eval keeplight-out/assignments.csv
  $ keeplight eval assignments.csv --labels truth.csv --json
  $ keeplight eval assignments.csv --labels ./photos --features features.safetensors
  $ keeplight eval keeplight-out/assignments.csv keeplight-kmeans/assignments.csv

Without --labels, a column label of the assignments counts. There may be more clusters than classes,
or fewer: ACC is the best one-to-one map's. Images that only one file names are left out and counted.`,
    )
    .action(async (path: string, other: string | undefined, settings: EvalSettings) => {
      await runEval(path, other, settings, context(settings))
    })
}

async function runEval(
  path: string,
  other: string | undefined,
  settings: EvalSettings,
  { terminal, signal }: Context,
): Promise<void> {
  const partition = await readPartition(path, 'clusters')
  const labels = await labelsOf(partition, settings.labels, signal)
  if (!labels && other === undefined && settings.features === undefined) {
    throw new KeeplightError(
      'usage',
      `${path}: has no column label; give --labels, --features or another partition to compare with`,
    )
  }
  const summary = {
    assignments: path,
    images: partition.rows.size,
    clusters: new Set([...partition.rows.values()].map(({ value }) => value)).size,
    ...(labels && { labels: compare(partition, labels) }),
    ...(other !== undefined && {
      other: {
        path: other,
        ...compare(partition, valuesOf(await readPartition(other, 'clusters'))),
      },
    }),
    ...(settings.features !== undefined && {
      features: await scoreFeatures(partition, settings.features, settings.adapter, signal),
    }),
  }
  terminal.printJson(summary)
  terminal.print(describe(summary))
}

const valuesOf = ({ rows }: PartitionFile): Map<string, string> =>
  new Map([...rows].map(([image, { value }]) => [image, value]))

/** Labels by path: of a table, of a collection with classes, or those that the assignments have. */
async function labelsOf(
  { rows }: PartitionFile,
  source: string | undefined,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string> | undefined> {
  if (source === undefined) {
    const own = [...rows].flatMap(([image, { label }]) =>
      label === undefined ? [] : [[image, label] as const],
    )
    return own.length > 0 ? new Map(own) : undefined
  }
  const table = await stat(source).then(
    (entry) => entry.isFile() && /\.(csv|json)$/i.test(source),
    () => /\.(csv|json)$/i.test(source),
  )
  if (table) return valuesOf(await readPartition(source, 'labels'))
  const { collection } = await openData(source, {}, signal)
  const { labels, classes, files } = collection
  if (!labels) {
    throw new KeeplightError(
      'input',
      `--labels ${source}: its images have no classes. Give one subfolder per class, or a table.`,
    )
  }
  return new Map(files.map((file, i) => [plainPath(file), classes[labels[i]]]))
}

/** A partition's scores against labels of the images that both name. */
export interface Comparison extends Agreement {
  readonly images: number
  /** Images that only one of them names. */
  readonly leftOut: number
  readonly classes: readonly string[]
  readonly clusters: readonly string[]
  readonly perClass: readonly ClassScore[]
  /** Rows are classes. */
  readonly confusion: readonly (readonly number[])[]
}

function compare(partition: PartitionFile, labels: ReadonlyMap<string, string>): Comparison {
  const shared = [...partition.rows].flatMap(([image, { value }]) => {
    const label = labels.get(image)
    return label === undefined ? [] : [{ value, label }]
  })
  if (shared.length === 0) {
    const example = [...labels.keys()][0] ?? 'nothing'
    throw new KeeplightError(
      'input',
      `${partition.path}: names none of the labelled images (${example}, …). Paths have to be equal.`,
    )
  }
  const classes = numbered(shared.map(({ label }) => label))
  const clusters = numbered(shared.map(({ value }) => value))
  return {
    images: shared.length,
    leftOut: partition.rows.size + labels.size - 2 * shared.length,
    ...agreementOf(classes.numbers, clusters.numbers),
    ...{ classes: classes.names, clusters: clusters.names },
    ...compareInDetail(classes.numbers, classes.names, clusters.numbers, clusters.names),
  }
}

/** Names in their natural order, and the number of each. */
function numbered(values: readonly string[]): { numbers: Int32Array; names: string[] } {
  const order = new Intl.Collator('en', { numeric: true })
  const names = [...new Set(values)].sort((a, b) => order.compare(a, b) || (a < b ? -1 : 1))
  const index = new Map(names.map((name, i) => [name, i]))
  return { numbers: Int32Array.from(values, (value) => index.get(value)!), names }
}

async function scoreFeatures(
  partition: PartitionFile,
  path: string,
  adapter: string | undefined,
  signal: AbortSignal,
) {
  const { collection, stored } = await openData(path, {}, signal)
  if (!stored) {
    throw new KeeplightError(
      'usage',
      `--features ${path}: expected features.safetensors of keeplight embed. Embed the images first.`,
    )
  }
  const { dimension, clean } = stored.features
  const known = collection.files.flatMap((file, row) => {
    const found = partition.rows.get(plainPath(file))
    return found ? [{ row, value: found.value }] : []
  })
  if (known.length === 0) {
    throw new KeeplightError(
      'input',
      `${partition.path}: names none of the images of ${path}. Paths have to be equal.`,
    )
  }
  const data = new Float32Array(known.length * dimension)
  known.forEach(({ row }, i) => {
    data.set(clean.subarray(row * dimension, (row + 1) * dimension), i * dimension)
  })
  normalizeRows(data, dimension)
  const { numbers, names } = numbered(known.map(({ value }) => value))
  const rows = { count: known.length, dimension, data }
  const device = await createDevice({ adapter })
  try {
    const sample = evenRows(rows, silhouetteRows)
    const sampled = Int32Array.from(sample.rows, (row) => numbers[row])
    const [silhouette] = await silhouettes(sample.data, [sampled], {
      ...{ device, count: sample.count, dimension },
    })
    return {
      ...{ path, images: known.length, clusters: names.length },
      silhouette: finite(silhouette),
      calinskiHarabasz: finite(calinskiHarabasz(data, dimension, numbers)),
      inertia: inertiaOf(data, dimension, numbers, names.length),
      codingLength: await codingLength(rows, numbers, { device }),
    }
  } finally {
    device.close()
  }
}

/** JSON has no NaN. */
const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

interface Summary {
  readonly images: number
  readonly clusters: number
  readonly labels?: Comparison
  readonly other?: Comparison & { readonly path: string }
  readonly features?: Awaited<ReturnType<typeof scoreFeatures>>
}

const percent = (value: number): string => `${(value * 100).toFixed(1)} %`
const number = (value: number | null, digits: number): string => value?.toFixed(digits) ?? '–'

function describe({ images, clusters, labels, other, features }: Summary): string {
  return [
    `${images} images in ${clusters} clusters`,
    ...(labels ? [`against ${labels.classes.length} classes: ${scoreLine(labels)}`] : []),
    ...(labels ? classTable(labels.perClass) : []),
    ...(labels && labels.clusters.length <= mostClusters ? confusionTable(labels) : []),
    ...(other ? [`against ${other.path}: ${scoreLine(other)}`] : []),
    ...(features
      ? [
          `on features: silhouette ${number(features.silhouette, 4)}, Calinski-Harabasz ` +
            `${number(features.calinskiHarabasz, 1)}, inertia ${features.inertia.toFixed(4)}, ` +
            `coding length ${features.codingLength.toFixed(0)}`,
        ]
      : []),
  ].join('\n')
}

function scoreLine({ accuracy, nmi, ari, images, leftOut }: Comparison): string {
  const left = leftOut > 0 ? `, on ${images} images that both name (${leftOut} left out)` : ''
  return `ACC ${percent(accuracy)}, NMI ${percent(nmi)}, ARI ${percent(ari)}${left}`
}

function classTable(rows: readonly ClassScore[]): string[] {
  return table([
    ['class', 'images', 'cluster', 'recall', 'precision'],
    ...rows.map(({ label, images, cluster, recall, precision }) => [
      ...[label, String(images), cluster ?? '–', percent(recall), percent(precision)],
    ]),
  ])
}

function confusionTable({ classes, clusters, confusion }: Comparison): string[] {
  const body = confusion.map((row, i) => [classes[i], ...row.map(String)])
  return ['classes in clusters:', ...table([['', ...clusters], ...body])]
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) => {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i]),
    )
    return `  ${cells.join('  ')}`
  })
}
