import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { mergeFeatures } from '../data/mergeFeatures.node.ts'
import type { Context } from './context.ts'
import { prepareOutput, writingTo } from './files.ts'
import type { TerminalOptions } from './terminal.ts'

interface MergeSettings extends TerminalOptions {
  readonly out: string
}

/** Adds `keeplight merge`. */
export function addMergeCommand(
  program: Command,
  context: (output: TerminalOptions) => Context,
): void {
  program
    .command('merge')
    .summary('put the shards of keeplight embed together')
    .description('Puts the files that the shards of one keeplight embed wrote together into one.')
    .argument('<shards...>', 'the files of all shards, in any order')
    .requiredOption('-o, --out <file>', 'where the features go')
    .option('--json', 'print one JSON value on standard output', false)
    .option('--quiet', 'print errors only', false)
    .addHelpText(
      'after',
      `
Example:
  $ keeplight merge features.shard-*-of-16.safetensors --out features.safetensors

The result has the bits that one process would have written. The shards stay where they are.`,
    )
    .action(async (shards: string[], settings: MergeSettings) => {
      const { terminal, signal } = context(settings)
      const out = resolve(settings.out)
      await prepareOutput(dirname(out))
      const result = await writingTo(out, () => {
        return mergeFeatures(
          shards.map((path) => resolve(path)),
          out,
          { signal },
        )
      })
      const { images, rows, failed, adapters, paths } = result
      if (adapters.length > 1) {
        terminal.warn(
          `the shards were computed by different adapters (${adapters.join(', ')}), whose features ` +
            'differ in their last digits',
        )
      }
      terminal.printJson({ shards: shards.length, images, rows, failed, adapters, files: paths })
      const left = failed > 0 ? `, ${failed} images could not be read (${paths.failed})` : ''
      terminal.print(`${rows} features from ${shards.length} shards${left}`)
      terminal.print(`features: ${paths.features}`)
    })
}
