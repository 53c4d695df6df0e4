import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { openCollection } from '../data/openCollection.node.ts'
import { parseCsv } from '../data/pathList.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'
import {
  checkOrganizable,
  organize,
  planOrganization,
  type OrganizedImage,
  type OrganizeMode,
  type OrganizePlan,
} from './organizeFiles.ts'
import { count } from './report/format.ts'
import type { Terminal } from './terminal.ts'

interface OrganizeSettings {
  readonly mode: OrganizeMode
  readonly dryRun: boolean
  readonly quiet: boolean
  readonly json: boolean
}

/** Adds `keeplight organize`. */
export function addOrganizeCommand(
  program: Command,
  context: (output: Pick<OrganizeSettings, 'quiet' | 'json'>) => Context,
): void {
  program
    .command('organize')
    .summary('put images into a folder per cluster, as links or copies')
    .description(
      'Puts the images of a finished run into a folder per cluster. Nothing is moved: the folders ' +
        'hold links or copies. What assignments.csv says counts, also after it was edited.',
    )
    .argument('<run>', 'folder of results, as keeplight cluster writes it')
    .addOption(
      new Option('--mode <mode>', 'relative symbolic links, or copies')
        .choices(['link', 'copy'])
        .default('link'),
    )
    .option('--dry-run', 'show what would be done, and do nothing', false)
    .option('--json', 'print one JSON value on standard output', false)
    .option('--quiet', 'print errors only', false)
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight organize keeplight-out --dry-run
  $ keeplight organize keeplight-out --mode copy`,
    )
    .action(async (run: string, settings: OrganizeSettings) => {
      const { terminal, signal } = context(settings)
      const out = resolve(run)
      const { data, labels, synsets } = await readRun(out)
      const images = await readAssignments(join(out, 'assignments.csv'))
      const collection = await openCollection(data, { labels, synsets, signal })
      await checkOrganizable(collection, out, settings.mode)
      const plan = planOrganization(collection, images, out, settings.mode)
      if (!settings.dryRun) await organize(collection, plan, { terminal, signal })
      terminal.printJson(planJson(plan, settings.dryRun))
      printPlan(plan, settings.dryRun, terminal)
    })
}

/** What a run was made of, by its metrics.json. */
async function readRun(
  out: string,
): Promise<{ data: string; labels?: 'fine' | 'coarse'; synsets?: string }> {
  const path = join(out, 'metrics.json')
  try {
    const { data, dataOptions } = JSON.parse(await readFile(path, 'utf8')) as {
      data: unknown
      dataOptions?: { labels?: 'fine' | 'coarse'; synsets?: string }
    }
    if (typeof data === 'string') return { data, ...dataOptions }
  } catch {
    // told below
  }
  throw new KeeplightError(
    'input',
    `${out}: has no metrics.json that names its images; expected a folder that keeplight cluster wrote.`,
  )
}

async function readAssignments(path: string): Promise<OrganizedImage[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new KeeplightError(
      'input',
      `${path}: can't be read; expected a folder that keeplight cluster wrote.`,
      { cause },
    )
  })
  const [head = [], ...rows] = parseCsv(text)
  const [pathColumn, clusterColumn] = ['path', 'cluster'].map((name) => head.indexOf(name))
  if (pathColumn < 0 || clusterColumn < 0) {
    throw new KeeplightError(
      'input',
      `${path}: expected columns path and cluster in its first line.`,
    )
  }
  return rows.map((fields, i) => {
    const cluster = fields[clusterColumn] ?? ''
    if (!/^\d{1,9}$/.test(cluster)) {
      throw new KeeplightError(
        'input',
        `${path}, row ${i + 2}: the cluster is ${JSON.stringify(cluster)}, expected a number.`,
      )
    }
    return { path: withoutGuard(fields[pathColumn]), cluster: Number(cluster) }
  })
}

/** Undoes what keeps spreadsheets from running a path as a formula. */
function withoutGuard(path: string): string {
  return /^\.\/[=+\-@\t\r]/.test(path) ? path.slice(2) : path
}

/** What was done, or would be, for programs. */
export function planJson({ folder, mode, entries }: OrganizePlan, dryRun: boolean) {
  return {
    ...{ folder, mode, dryRun },
    entries: entries.map(({ path, name }) => ({ path, to: name })),
  }
}

/** Entries of a plan that are shown. */
const shown = 20

/** What was done, or would be, for people. */
export function printPlan(
  { folder, mode, entries }: OrganizePlan,
  dryRun: boolean,
  terminal: Terminal,
): void {
  const clusters = new Set(entries.map(({ cluster }) => cluster)).size
  const what = `${count(entries.length, 'image')} in ${count(clusters, 'folder')}`
  if (!dryRun) {
    terminal.print(`${mode === 'link' ? 'linked' : 'copied'} ${what}: ${folder}`)
    return
  }
  terminal.print(`would ${mode} ${what}: ${folder}`)
  for (const { path, name } of entries.slice(0, shown)) terminal.printLine(`  ${name} ← ${path}`)
  if (entries.length > shown) terminal.print(`  and ${entries.length - shown} more`)
}
