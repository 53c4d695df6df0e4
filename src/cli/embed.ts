import { dirname, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { embedCollection } from '../data/embedCollection.node.ts'
import type { EmbedCollectionOptions, EmbedCollectionResult } from '../data/embedCollection.node.ts'
import { embedMixed } from '../data/embedMixed.node.ts'
import { openCollection } from '../data/openCollection.node.ts'
import { createDevice } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'
import { prepareOutput, writingTo } from './files.ts'
import { openEncoder } from './openModel.ts'
import { integer } from './options.ts'
import { describeAdapter } from './runCluster.ts'
import { addCommonOptions, addDataOptions, addModelOptions } from './settings.ts'
import type { DataSettings, ModelSettings } from './settings.ts'
import { arrayVariable, resolveShard, shardPath } from './shard.ts'
import { formatDuration } from './terminal.ts'
import { useTuning } from './tuning.ts'

interface EmbedSettings extends DataSettings, ModelSettings {
  readonly out: string
  readonly store: 'f32' | 'f16'
  readonly fastDecode: boolean
  readonly shard?: string
  readonly shards?: number
  readonly chunk: number
  readonly batch: number
  readonly overwrite: boolean
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

/** Adds `keeplight embed`. */
export function addEmbedCommand(
  program: Command,
  context: (output: Pick<EmbedSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('embed')
    .summary('write the features of a collection of images')
    .description(
      'Runs an encoder over a collection of images and writes one feature vector for each.',
    )
    .argument(
      '<data>',
      'folder, .tar, .tar.gz or .zip of images; list of files; CIFAR or STL-10 binaries',
    )
    .option('-o, --out <file>', 'where the features go', 'features.safetensors')
    .addOption(
      new Option('--store <dtype>', 'how features are stored')
        .choices(['f32', 'f16'])
        .default('f32'),
    )
    .option(
      '--fast-decode',
      'let decoders reduce large photos first: faster, not to the byte',
      false,
    )
    .option('--shard <i/n>', 'embed the i-th of n parts (from 0), into a file of its own')
    .option('--shards <n>', 'the same, i from the array job this runs in', integer(1, 1_000_000))
    .option('--batch <n>', 'images that go through the encoder together', integer(1, 1024), 32)
    .option('--chunk <n>', 'images that are saved together', integer(1, 1_000_000), 256)
    .option('--overwrite', 'replace features that are there already', false)
  addCommonOptions(addDataOptions(addModelOptions(command, true)))
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight embed ./photos --out photos.safetensors
  $ keeplight embed ./photos --model clip-vit-b-32 --store f16
  $ keeplight embed ./photos --shard 3/16       # one of 16 machines
  $ keeplight merge features.shard-*-of-16.safetensors --out features.safetensors

Writes features, places, hashes and labels to the file, and paths to a .jsonl file beside it.
Stopped or killed, the same command goes on where it was. Array jobs of Slurm, Kubernetes and
AWS Batch: --shards N in every task.`,
    )
    .action(async (data: string, settings: EmbedSettings) => {
      await runEmbed(data, settings, context(settings))
    })
}

async function runEmbed(
  data: string,
  settings: EmbedSettings,
  { terminal, signal }: Context,
): Promise<void> {
  const { dtype, store, chunk, batch, overwrite } = settings
  if (!settings.out.endsWith('.safetensors')) {
    throw new KeeplightError(
      'usage',
      `--out ${settings.out}: expected a file name ending in .safetensors`,
    )
  }
  const shard = resolveShard(settings.shard, settings.shards, process.env)
  const array = arrayVariable(process.env)
  if (array !== undefined && shard.count === 1 && settings.shards === undefined) {
    terminal.warn(
      `${array} is set, but neither --shard nor --shards is given: every task of this array job ` +
        'embeds everything',
    )
  }
  const out = resolve(shardPath(settings.out, shard))
  const { labels, synsets } = settings
  const collection = await openCollection(data, { labels, synsets, signal })
  await prepareOutput(dirname(out))
  const part = shard.count > 1 ? `, shard ${shard.index} of ${shard.count}` : ''
  terminal.note(`${collection.root}: ${collection.files.length} images${part}`)

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const model = await openEncoder(settings, device, { terminal, signal })
    const adapter = describeAdapter(device)
    terminal.note(`${model.name} on ${adapter}`)
    const start = performance.now()
    let progress: ReturnType<typeof terminal.progress> | undefined
    const job: EmbedCollectionOptions = {
      pictures: settings.fastDecode ? 'reduced' : 'exact',
      ...{ out, shard, weights: dtype, store, chunk, batch, overwrite, adapter, signal },
      onProgress: (done, total) => {
        progress ??= terminal.progress('embedding', total, 'images', done)
        progress.update(done)
      },
    }
    const result = await writingTo(out, () =>
      'encoders' in model
        ? embedMixed(collection, model.encoders, job)
        : embedCollection(collection, model, job),
    ).finally(() => progress?.stop())
    const seconds = (performance.now() - start) / 1000
    const { images, rows, failed, reused, paths } = result
    const computed = images - reused
    const imagesPerSecond = computed / seconds
    terminal.printJson({
      ...{
        data: collection.root,
        model: model.name,
        dtype,
        dimension: model.dimension,
        store,
        shard,
      },
      ...{ images, rows, failed, reused, seconds, imagesPerSecond, files: paths },
    })
    terminal.print(describeResult(result, seconds))
    terminal.print(`features: ${paths.features}`)
    await model.dispose()
  } finally {
    device.close()
  }
}

function describeResult(
  { images, rows, failed, reused, paths }: EmbedCollectionResult,
  seconds: number,
): string {
  const left = failed > 0 ? `, ${failed} could not be read (${paths.failed})` : ''
  if (reused === images) return `${rows} features are there already${left}`
  const before = reused > 0 ? `, ${reused} from before` : ''
  const rate = ((images - reused) / seconds).toFixed(1)
  return `${rows} features in ${formatDuration(seconds)}, ${rate} images/s${before}${left}`
}
