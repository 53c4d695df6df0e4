import { mkdir, readdir, rm } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import type { Command } from 'commander'
import sharp from 'sharp'
import { drawScene, sceneKinds } from '../data/scenes.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { printSummary } from './cluster.ts'
import type { Context } from './context.ts'
import { prepareOutput, writeFileAtomic } from './files.ts'
import { integer } from './options.ts'
import { runCluster } from './runCluster.ts'
import { addCommonOptions, addTrainingOptions } from './settings.ts'
import type { ClusterSettings } from './settings.ts'

/** Fewer than `cluster`'s 8, so that a software adapter is done in a few minutes. */
const demoRestarts = 2

interface DemoOptions extends Omit<ClusterSettings, 'k'> {
  readonly perKind: number
}

/** Adds `keeplight demo`. */
export function addDemoCommand(program: Command, context: (output: DemoOptions) => Context): void {
  const command = program
    .command('demo')
    .summary('draw pictures of several kinds and cluster them')
    .description(
      `Draws pictures of ${sceneKinds.length} kinds (${sceneKinds.join(', ')}), clusters them ` +
        'without looking at the kinds, and scores the clusters by them.',
    )
    .option('-o, --out <folder>', 'where pictures and results go', 'keeplight-demo')
    .option('--per-kind <n>', 'pictures of each kind', integer(1, 10_000), 40)
  addTrainingOptions(command)
  addCommonOptions(command)
  command
    .addHelpText(
      'after',
      `\nTrains ${demoRestarts} times unless --restarts says otherwise.\n\nExample:\n  $ keeplight demo --out ./keeplight-demo`,
    )
    .action(async (options: DemoOptions) => {
      const { terminal, signal } = context(options)
      const scenes = join(options.out, 'scenes')
      await prepareOutput(options.out)
      await drawPictures(scenes, options.perKind, { terminal, signal })
      const restarts = options.restarts ?? demoRestarts
      const settings = { ...options, restarts, k: sceneKinds.length }
      const summary = await runCluster(scenes, settings, { terminal, signal })
      printSummary(summary, terminal)
      terminal.print(`\nNow your own photos:\n  ${ownCommand()} cluster ./photos -k 10`)
    })
}

/** How this program was called, for a line to copy: in a clone it is on nobody's path. */
function ownCommand(): string {
  const script = process.argv[1] ?? ''
  return basename(script) === 'keeplight' ? 'keeplight' : `node ${relative('', script)}`
}

/**
 * Draws each kind into a folder of its own, as JPEG files named by kind and number, and takes away
 * what an earlier, larger demo left there.
 */
async function drawPictures(
  folder: string,
  perKind: number,
  { terminal, signal }: Context,
): Promise<void> {
  const progress = terminal.progress('drawing', sceneKinds.length * perKind, 'pictures')
  let done = 0
  try {
    for (const kind of sceneKinds) {
      const kindFolder = join(folder, kind)
      await mkdir(kindFolder, { recursive: true })
      const surplus = new Set((await readdir(kindFolder)).filter((name) => isOurs(name, kind)))
      for (let seed = 0; seed < perKind; seed++) {
        if (signal.aborted) throw new KeeplightError('aborted', 'stopped while drawing')
        const name = `${kind}-${String(seed).padStart(3, '0')}.jpg`
        const { width, height, data } = drawScene(kind, seed)
        const picture = sharp(data, { raw: { width, height, channels: 3 } })
        await writeFileAtomic(
          join(kindFolder, name),
          await picture.jpeg({ quality: 90 }).toBuffer(),
        )
        surplus.delete(name)
        progress.update(++done)
      }
      for (const name of surplus) await rm(join(kindFolder, name))
    }
  } finally {
    progress.stop()
  }
}

function isOurs(name: string, kind: string): boolean {
  return name.startsWith(`${kind}-`) && /^\d+\.jpg$/.test(name.slice(kind.length + 1))
}
