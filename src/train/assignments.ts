import { csvText, safePath } from '../data/csv.ts'

/** Where an image went: its cluster, how sure the head is, and the second choice. */
export interface Assignment {
  /** Path relative to the folder of images, with `/` between parts. */
  readonly path: string
  readonly cluster: number
  readonly probability: number
  readonly runnerUp: number
  readonly runnerUpProbability: number
  /** Name of the image's class, where the folder has classes. */
  readonly label?: string
  /** Path of the image that this one is a lesser copy of. */
  readonly duplicateOf?: string
}

/**
 * Names each image's cluster and its runner-up.
 *
 * @param probabilities N · K, by images
 * @param labels class names of the images, where known
 * @param copies for a path, that of the image that it is a lesser copy of
 */
export function toAssignments(
  paths: readonly string[],
  assignments: ArrayLike<number>,
  probabilities: Float32Array,
  k: number,
  labels?: readonly string[],
  copies?: ReadonlyMap<string, string>,
): Assignment[] {
  return paths.map((path, i) => {
    const row = probabilities.subarray(i * k, (i + 1) * k)
    const cluster = assignments[i]!
    const runnerUp = strongestOther(row, cluster)
    return {
      path,
      cluster,
      probability: row[cluster],
      runnerUp,
      runnerUpProbability: row[runnerUp],
      ...(labels && { label: labels[i] }),
      ...(copies?.has(path) && { duplicateOf: copies.get(path)! }),
    }
  })
}

/** Whether the head is unsure of an image: its cluster is less than twice as probable as the runner-up. */
export function isUncertain({ probability, runnerUpProbability }: Assignment): boolean {
  return probability < 2 * runnerUpProbability
}

function strongestOther(row: Float32Array, cluster: number): number {
  let best = cluster === 0 ? 1 : 0
  for (let j = 0; j < row.length; j++) if (j !== cluster && row[j] > row[best]) best = j
  return best
}

/** Probabilities in files: six decimals say all that float32 knows. */
const decimals = (value: number): number => Number(value.toFixed(6))

/**
 * CSV with a header line.
 *
 * @param names what the clusters are called, where they are known classes; by default their numbers
 */
export function assignmentsCsv(rows: readonly Assignment[], names?: readonly string[]): string {
  const withLabels = rows.some((row) => row.label !== undefined)
  const what = names ? 'class' : 'cluster'
  const withCopies = rows.some((row) => row.duplicateOf !== undefined)
  const head = ['path', what, 'probability', 'runner_up', 'runner_up_probability']
  if (withLabels) head.push('label')
  if (withCopies) head.push('duplicate_of')
  const nameOf = (cluster: number): string | number => (names ? safePath(names[cluster]!) : cluster)
  const lines = rows.map((row) => [
    safePath(row.path),
    nameOf(row.cluster),
    decimals(row.probability),
    nameOf(row.runnerUp),
    decimals(row.runnerUpProbability),
    ...(withLabels ? [safePath(row.label ?? '')] : []),
    ...(withCopies ? [safePath(row.duplicateOf ?? '')] : []),
  ])
  return csvText([head, ...lines])
}

/** The same rows as JSON. */
export function assignmentsJson(rows: readonly Assignment[]): string {
  const values = rows.map(({ runnerUp, runnerUpProbability, ...row }) => ({
    ...row,
    probability: decimals(row.probability),
    runnerUp: { cluster: runnerUp, probability: decimals(runnerUpProbability) },
  }))
  return `[\n${values.map((value) => JSON.stringify(value)).join(',\n')}\n]\n`
}
