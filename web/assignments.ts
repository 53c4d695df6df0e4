/** Where a picture went: its cluster, how sure the head is, and the second choice. */
export interface Assignment {
  readonly path: string
  readonly cluster: number
  readonly probability: number
  readonly runnerUp: number
  readonly runnerUpProbability: number
  /** Name of the picture's class, where the folder has classes. */
  readonly label?: string
}

/** @param probabilities [N, k], by pictures */
export function toAssignments(
  paths: readonly string[],
  clusters: ArrayLike<number>,
  probabilities: Float32Array,
  k: number,
  labels: readonly string[] | undefined,
): Assignment[] {
  return paths.map((path, i) => {
    const row = probabilities.subarray(i * k, (i + 1) * k)
    const cluster = clusters[i]!
    let runnerUp = cluster === 0 ? 1 : 0
    row.forEach((value, other) => {
      if (other !== cluster && value > row[runnerUp]!) runnerUp = other
    })
    return {
      path,
      cluster,
      probability: row[cluster]!,
      runnerUp,
      runnerUpProbability: row[runnerUp]!,
      ...(labels && { label: labels[i]! }),
    }
  })
}

/** Six decimals say all that float32 knows. */
const decimals = (value: number): number => Number(value.toFixed(6))

/** The same file as `keeplight cluster` writes: RFC 4180 with a header line and `\n` line ends. */
export function assignmentsCsv(rows: readonly Assignment[]): string {
  const withLabels = rows.some(({ label }) => label !== undefined)
  const head = ['path', 'cluster', 'probability', 'runner_up', 'runner_up_probability']
  const lines = rows.map((row) => [
    safePath(row.path),
    row.cluster,
    decimals(row.probability),
    row.runnerUp,
    decimals(row.runnerUpProbability),
    ...(withLabels ? [safePath(row.label ?? '')] : []),
  ])
  return [withLabels ? [...head, 'label'] : head, ...lines]
    .map((fields) => `${fields.map(csvField).join(',')}\n`)
    .join('')
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

/** Spreadsheets run what begins with `=`, `+`, `-` or `@` as a formula; `./` keeps it a path. */
function safePath(path: string): string {
  return /^[=+\-@\t\r]/.test(path) ? `./${path}` : path
}

function csvField(value: string | number): string {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
