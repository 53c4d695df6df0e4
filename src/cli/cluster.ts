import { type Command, Option } from 'commander'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'
import { countsLine } from './describeSurvey.ts'
import { planJson, printPlan } from './organize.ts'
import { describeRestarts } from './restarts.ts'
import { runCluster } from './runCluster.ts'
import {
  addCommonOptions,
  addCountOptions,
  addDataOptions,
  addImagesOption,
  addTrainingOptions,
} from './settings.ts'
import type { ClusterSettings } from './settings.ts'
import type { Score } from './report/data.ts'
import type { Summary } from './writeResults.ts'
import type { Terminal } from './terminal.ts'

/** Adds `keeplight cluster`. */
export function addClusterCommand(program: Command, context: (quiet: Output) => Context): void {
  const command = program
    .command('cluster')
    .summary('sort images into clusters')
    .description('Sorts images into clusters and writes a report that opens offline.')
    .argument(
      '<data>',
      'folder, .tar, .tar.gz or .zip of images, flat or one subfolder per class; list of files; ' +
        'CIFAR or STL-10 binaries; features.safetensors of keeplight embed',
    )
    .option('-o, --out <folder>', 'where the results go', 'keeplight-out')
    .addOption(
      new Option(
        '--organize <mode>',
        'put images into OUT/clusters/<id>, as links or copies',
      ).choices(['link', 'copy']),
    )
    .option('--dry-run', 'of --organize: show what it would do')
    .option(
      '--profile <file>',
      'time every GPU dispatch: a table, and a trace for Chrome in a file',
    )
  addImagesOption(addDataOptions(addCountOptions(command)))
  addTrainingOptions(command)
  addCommonOptions(command)
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight cluster ./photos -k 10
  $ keeplight cluster photos.tar.gz -k 10 --out ./sorted --seed 7
  $ keeplight cluster cifar-10-batches-bin -k 10
  $ keeplight cluster ./photos -k auto --k-range 2..40
  $ keeplight cluster ./photos -k 10 --preset paper
  $ keeplight cluster ./photos -k 10 --organize link
  $ keeplight cluster ./photos -k 10 --json --quiet | jq .scores

Writes assignments.csv, assignments.json, head.safetensors, metrics.json and report.html.
Features are kept in KEEPLIGHT_CACHE (default: the user's cache folder), so a second run starts
at once and a stopped run goes on where it was; --resume takes up a stopped training.`,
    )
    .action(async (data: string, options: ClusterSettings & { clusters: number | 'auto' }) => {
      const { terminal, signal } = context(options)
      const settings = { ...options, k: options.clusters }
      if (settings.dryRun && !settings.organize) {
        throw new KeeplightError('usage', '--dry-run belongs to --organize; give both')
      }
      const summary = await runCluster(data, settings, { terminal, signal })
      printSummary(summary, terminal)
    })
}

type Output = Pick<ClusterSettings, 'quiet' | 'json'>

/** Prints scores and paths, for people or as JSON. */
export function printSummary(summary: Summary, terminal: Terminal): void {
  const { images, scores, files, organized } = summary
  terminal.printJson({ ...summary, organized: organized && planJson(organized, organized.dryRun) })
  const left = images.broken > 0 ? `, ${images.broken} broken and left out` : ''
  const fresh = images.embedded > 0 ? `, ${images.embedded} new` : ''
  const from = images.reused > 0 ? `, ${images.reused} from the cache${fresh}` : ''
  terminal.print(`${images.used} images in ${summary.settings.k} clusters${from}${left}`)
  const found = summary.toLookAt ? `, ${countsLine(summary.toLookAt)}` : ''
  terminal.print(`to look at: ${images.uncertain} uncertain${found}`)
  terminal.print(scoreTable(scores))
  const { restarts, spreads } = summary.training
  const runs = describeRestarts({ restarts, ...spreads })
  if (runs) terminal.print(runs)
  if (organized) printPlan(organized, organized.dryRun, terminal)
  terminal.print(`report: ${files['report.html']}`)
}

/** The scores as lines of a table. */
export function scoreTable(scores: readonly Score[]): string {
  const percent = (value: number): string => `${(value * 100).toFixed(1)} %`
  const rows = scores.map(({ method, accuracy, nmi, ari, inertia }) => [
    method,
    ...(accuracy === undefined ? [] : [percent(accuracy), percent(nmi ?? 0), percent(ari ?? 0)]),
    inertia.toFixed(4),
  ])
  const labelled = scores.some((score) => score.accuracy !== undefined)
  const table = [['', ...(labelled ? ['ACC', 'NMI', 'ARI'] : []), 'inertia'], ...rows]
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)))
  return table
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i])))
        .join('  '),
    )
    .join('\n')
}
