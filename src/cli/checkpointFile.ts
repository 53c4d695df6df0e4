import { readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { ClusterOptions } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { writeFileAtomic } from './files.ts'

/** What `addCheckpointOptions` parses. */
export interface CheckpointSettings {
  readonly checkpoint?: string
  /** Steps, or seconds. */
  readonly checkpointEvery: { readonly steps?: number; readonly seconds?: number }
  readonly resume: boolean
}

/** A parser for commander: `500` steps, or `60s`. */
function every(text: string): CheckpointSettings['checkpointEvery'] {
  const [, digits, unit] = /^(\d+)(s?)$/.exec(text) ?? []
  const count = Number(digits)
  if (digits === undefined || count < 1) {
    throw new InvalidArgumentError('Expected steps, as 500, or seconds, as 60s.')
  }
  return unit ? { seconds: count } : { steps: count }
}

/** Options by which a training goes on after it was stopped. */
export function addCheckpointOptions(command: Command): Command {
  const options = [
    new Option('--checkpoint <file>', 'where (checkpoint.safetensors in --out)'),
    new Option('--checkpoint-every <n>', 'steps, or seconds as 60s')
      .argParser(every)
      .default({ seconds: 60 }, '60s'),
    new Option('--resume', 'go on from the checkpoint').default(false),
  ]
  options.forEach((option) => command.addOption(option.helpGroup('Checkpoints:')))
  return command
}

export interface CheckpointFile {
  /** For `cluster()`. */
  readonly options: Pick<
    ClusterOptions,
    'onCheckpoint' | 'checkpointSeconds' | 'snapshotEvery' | 'resume'
  >
  /** At the end of a run nothing is left to go on with. */
  remove(): Promise<void>
}

/**
 * The file that a run's checkpoints go to, and what `--resume` finds there.
 *
 * @throws KeeplightError `input` when there is nothing to go on from
 */
export async function openCheckpointFile(
  out: string,
  { checkpoint, checkpointEvery, resume }: CheckpointSettings,
): Promise<CheckpointFile> {
  const path = checkpoint === undefined ? join(out, 'checkpoint.safetensors') : resolve(checkpoint)
  const { steps, seconds } = checkpointEvery
  return {
    options: {
      onCheckpoint: (bytes) => writeFileAtomic(path, bytes),
      ...(seconds !== undefined && { checkpointSeconds: seconds }),
      ...(steps !== undefined && { snapshotEvery: steps }),
      ...(resume && { resume: await readCheckpoint(path) }),
    },
    remove: () => rm(path, { force: true }),
  }
}

async function readCheckpoint(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new KeeplightError(
      'input',
      `${path}: there is no checkpoint to go on from; start without --resume, or name it by --checkpoint`,
      { cause },
    )
  }
}
