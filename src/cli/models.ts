import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import {
  downloadModel,
  downloadTokenizer,
  findManifest,
  manifests,
  type ModelManifest,
} from '../index.node.ts'
import { keeplightTinyUrl } from '../loadModel.ts'
import { cacheStatus, partialBytes, verifyModel, type CacheStatus } from '../model/hub.node.ts'
import { hubEnvironment } from '../model/hubEnvironment.node.ts'
import { unknownModel } from '../model/manifest.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'
import { progressBar } from './openModel.ts'

interface Output {
  readonly quiet: boolean
  readonly json: boolean
}

/** Adds `keeplight models` with `download` and `verify`. */
export function addModelsCommand(program: Command, context: (output: Output) => Context): void {
  const models = program
    .command('models')
    .summary('list the models that have a name; download or verify them')
    .description(
      'Lists the models that have a name: size, licence, and whether the Hugging Face cache has them.',
    )
  addOutputOptions(models)
  models
    .addHelpText(
      'after',
      `
A model is downloaded when a command first needs it. HF_HOME or HF_HUB_CACHE says where it is kept,
HF_HUB_OFFLINE=1 forbids downloads, HF_TOKEN and HF_ENDPOINT are honoured. Wherever a name is taken,
so is the path of a safetensors file or of its folder.

Examples:
  $ keeplight models
  $ keeplight models download clip-vit-b-32 dinov2-vit-s-14
  $ keeplight cluster ./photos -k 10 --model clip-vit-b-32`,
    )
    .action((options: Output) => list(context(options)))

  const download = models
    .command('download')
    .summary('download models, or the rest of them')
    .description(
      'Downloads models to the Hugging Face cache. Stopped at any moment, it goes on where it was.',
    )
    .argument('<names...>', 'names of models')
  // `models` takes what it knows wherever it stands, so its subcommands ask for it there.
  addOutputOptions(download).action((names: string[], _: Output, command: Command) =>
    downloadAll(names.map(manifestOf), context(command.optsWithGlobals())),
  )

  const verify = models
    .command('verify')
    .summary('compare the SHA-256 of what is cached')
    .description('Reads every cached model and compares its SHA-256 with what it should be.')
    .argument('[names...]', 'names of models; all by default')
  addOutputOptions(verify).action((names: string[], _: Output, command: Command) =>
    verifyAll(
      names.length > 0 ? names.map(manifestOf) : manifests,
      context(command.optsWithGlobals()),
    ),
  )
}

function addOutputOptions(command: Command): Command {
  return command
    .option(
      '--json',
      'print one JSON value on standard output, everything else on the other',
      false,
    )
    .option('--quiet', 'print errors only', false)
}

function manifestOf(name: string): ModelManifest {
  const manifest = findManifest(name)
  if (!manifest) throw unknownModel(name)
  return manifest
}

const isPackaged = ({ repository }: ModelManifest): boolean => repository === null
const packagedPath = (): string => fileURLToPath(keeplightTinyUrl())

async function list({ terminal }: Context): Promise<void> {
  const { cache } = hubEnvironment(process.env)
  const rows: ModelRow[] = []
  for (const manifest of manifests) {
    const found: CacheStatus[] = isPackaged(manifest)
      ? [{ path: packagedPath(), state: 'verified' }]
      : await cacheStatus(manifest)
    const best = found.find(({ state }) => state !== 'damaged') ?? found[0]
    const partial = best || isPackaged(manifest) ? 0 : await partialBytes(manifest)
    rows.push({ manifest, status: best, partial })
  }
  terminal.printJson({
    cache,
    models: rows.map(({ manifest, status, partial }) => ({
      ...manifest,
      path: status?.path ?? null,
      state: status?.state ?? null,
      partial,
    })),
  })
  terminal.print(`${modelTable(rows)}\n\ncache: ${cache}`)
}

export interface ModelRow {
  readonly manifest: ModelManifest
  readonly status: CacheStatus | undefined
  /** Bytes that an unfinished download left. */
  readonly partial: number
}

/** The models as lines of a table. */
export function modelTable(rows: readonly ModelRow[]): string {
  const head = ['name', 'feature', 'input', 'file', 'licence', 'where']
  const cells = rows.map(({ manifest, status, partial }) => [
    manifest.name,
    String(manifest.features),
    String(manifest.preprocess.size),
    formatSize(manifest.size),
    manifest.licence.id + (manifest.licence.note ? ' *' : ''),
    isPackaged(manifest)
      ? 'in the package'
      : status
        ? describeStatus(status)
        : partial > 0
          ? `${formatSize(partial)} downloaded so far`
          : 'not downloaded',
  ])
  const table = [head, ...cells]
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column].length)))
  const isText = (column: number): boolean => column === 0 || column >= 4
  const lines = table.map((row) =>
    row
      .map((cell, i) => (isText(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  )
  const remarks = new Set(rows.flatMap(({ manifest }) => manifest.licence.note ?? []))
  return [...lines, ...[...remarks].map((remark) => `* ${remark}`)].join('\n')
}

const describeStatus = ({ path, state }: CacheStatus): string =>
  state === 'damaged' ? `${path} (damaged: download it again)` : path

function formatSize(bytes: number): string {
  const mega = bytes / 1e6
  if (mega < 10) return `${mega.toFixed(1)} MB`
  return mega < 1000 ? `${Math.round(mega)} MB` : `${(mega / 1000).toFixed(2)} GB`
}

async function downloadAll(wanted: readonly ModelManifest[], context: Context): Promise<void> {
  const { terminal, signal } = context
  const results: { name: string; path: string; verifiedBy: string }[] = []
  for (const manifest of wanted) {
    const { name, sha256 } = manifest
    if (isPackaged(manifest)) {
      results.push({ name, path: packagedPath(), verifiedBy: 'package' })
      terminal.note(`${name} comes with the package`)
      continue
    }
    const bar = progressBar('download', terminal)
    const path = await downloadModel(manifest, {
      signal,
      onProgress: (progress) => bar.update(progress),
    }).finally(() => bar.stop())
    // Small, and what the model needs to read text offline; pictures need none.
    if (manifest.tokenizer) {
      await downloadTokenizer(manifest, { signal }).catch((error: unknown) => {
        if (signal.aborted || !(error instanceof KeeplightError)) throw error
        terminal.warn(error.message)
      })
    }
    if (sha256 === null) {
      terminal.note(`${name}: nobody published its SHA-256; it has the one that the hub states`)
    }
    results.push({ name, path, verifiedBy: sha256 === null ? 'hub' : 'manifest' })
    terminal.print(`${name}  ${path}`)
  }
  terminal.printJson(results)
}

async function verifyAll(wanted: readonly ModelManifest[], context: Context): Promise<void> {
  const { terminal, signal } = context
  const results: { name: string; path: string; state: CacheStatus['state'] }[] = []
  for (const manifest of wanted.filter((manifest) => !isPackaged(manifest))) {
    for (const { path, state } of await verifyModel(manifest, process.env, signal)) {
      results.push({ name: manifest.name, path, state })
      terminal.print(`${manifest.name}  ${state}  ${path}`)
    }
  }
  if (results.length === 0) terminal.note('none of them is cached')
  terminal.printJson(results)
  const damaged = results.filter(({ state }) => state === 'damaged').map(({ name }) => name)
  if (damaged.length > 0) {
    throw new KeeplightError(
      'format',
      `damaged: ${damaged.join(', ')}; keeplight models download ${damaged.join(' ')} brings them anew`,
    )
  }
}
