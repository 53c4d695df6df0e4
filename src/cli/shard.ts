import { KeeplightError } from '../runtime/errors.ts'
import type { Shard } from '../data/embedJob.node.ts'

/** Where array jobs put a task's number, all counting from 0 (Slurm: with --array=0-15). */
const ARRAY_VARIABLES = ['SLURM_ARRAY_TASK_ID', 'JOB_COMPLETION_INDEX', 'AWS_BATCH_JOB_ARRAY_INDEX']

type Environment = Readonly<Record<string, string | undefined>>

/** The array job's variable that is set, if any. */
export const arrayVariable = (env: Environment): string | undefined =>
  ARRAY_VARIABLES.find((name) => env[name] !== undefined && env[name] !== '')

/**
 * The part of the work that this process takes.
 *
 * @param shard `i/n` as given, or undefined
 * @param shards n as given; i then comes from the array job's environment
 * @throws KeeplightError `usage`
 */
export function resolveShard(
  shard: string | undefined,
  shards: number | undefined,
  env: Environment,
): Shard {
  if (shard !== undefined) {
    if (shards !== undefined) {
      throw new KeeplightError('usage', 'give either --shard I/N or --shards N, not both')
    }
    const [, index, count] = /^(\d+)\/(\d+)$/.exec(shard) ?? []
    if (index === undefined || Number(index) >= Number(count)) {
      throw new KeeplightError(
        'usage',
        `--shard ${shard}: expected I/N with I from 0 to N − 1, such as 0/16 and 15/16`,
      )
    }
    return { index: Number(index), count: Number(count) }
  }
  if (shards === undefined) return { index: 0, count: 1 }
  const name = arrayVariable(env)
  if (name === undefined) {
    throw new KeeplightError(
      'usage',
      `--shards ${shards} takes this task's number from ${ARRAY_VARIABLES.join(', ')}, and none of ` +
        `them is set. Outside an array job give --shard I/${shards}.`,
    )
  }
  const index = Number(env[name])
  if (!Number.isInteger(index) || index < 0 || index >= shards) {
    const hint = name.startsWith('SLURM') ? ` Submit with --array=0-${shards - 1}.` : ''
    throw new KeeplightError(
      'usage',
      `${name} is ${env[name]}, expected a number from 0 to ${shards - 1} for --shards ${shards}.${hint}`,
    )
  }
  return { index, count: shards }
}

/** `features.shard-03-of-16.safetensors`: a shard's own file beside the others. */
export function shardPath(out: string, { index, count }: Shard): string {
  if (count === 1) return out
  const width = String(count).length
  const part = `shard-${String(index).padStart(width, '0')}-of-${count}`
  return out.replace(/\.safetensors$/, `.${part}.safetensors`)
}
