import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse } from 'yaml'
import { drawFolder } from './drawFolder.ts'
import { ensureBuilt } from './runCli.ts'

/**
 * The job files of docs/jobs, run as their schedulers run them but as processes of this machine: with the
 * variables that they set, some tasks killed and started again, and merged at the end.
 */

const root = resolve(import.meta.dirname, '../..')
const jobs = join(root, 'docs/jobs')
const SHARDS = 2
let folder: string
let data: string

beforeAll(async () => {
  ensureBuilt()
  folder = await mkdtemp(join(tmpdir(), 'keeplight-jobs-'))
  data = join(folder, 'photos')
  await drawFolder(data, 4, 12)
  // `keeplight` on the PATH, as an installation has it.
  await mkdir(join(folder, 'bin'))
  await symlink(join(root, 'dist/cli.js'), join(folder, 'bin/keeplight'))
  await run(['keeplight', 'embed', data, '--out', join(folder, 'whole.safetensors'), ...small], {})
})
afterAll(() => rm(folder, { recursive: true }))

const small = ['--chunk', '8', '--batch', '8', '--quiet']

interface Task {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** A task's exit code, or what killed it. */
async function run(
  [file, ...args]: readonly string[],
  env: Task['env'],
  killOnChunk = '',
): Promise<{ readonly code: unknown; readonly stderr: string }> {
  const child = promisify(execFile)(file!, args, {
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
      ...env,
    },
  })
  let ended = false
  const finished = child.then(
    ({ stderr }) => ({ code: 0 as unknown, stderr }),
    (error: { code: unknown; signal: unknown; stderr: string }) => {
      return { code: error.signal ?? error.code, stderr: error.stderr }
    },
  )
  void finished.then(() => (ended = true))
  while (killOnChunk && !ended) {
    const names = await readdir(killOnChunk).catch(() => [])
    if (names.some((name) => name.startsWith('chunk'))) child.child.kill('SIGKILL')
    await new Promise((wait) => setTimeout(wait, 20))
  }
  return finished
}

/** The files' paths, model and number of tasks, as small as a test wants them. */
const localised = (args: readonly string[], out: string): string[] =>
  args.flatMap((arg) => {
    if (arg === '/data/photos') return [data, ...small]
    if (arg === '/out/features.safetensors') return [out]
    if (arg === 'clip-vit-b-32') return ['keeplight-tiny']
    return [arg === '16' ? String(SHARDS) : arg]
  })

const systems: Readonly<Record<string, (index: string, out: string) => Task>> = {
  slurm(index, out) {
    const env = { DATA: data, OUT: out, MODEL: 'keeplight-tiny', SHARDS: String(SHARDS) }
    const command = ['bash', join(jobs, 'slurm.sh'), ...small]
    return { command, env: { ...env, SLURM_ARRAY_TASK_ID: index } }
  },
  kubernetes(index, out) {
    const job = parse(readFileSync(join(jobs, 'kubernetes.yaml'), 'utf8')) as KubernetesJob
    expect(job.spec).toMatchObject({ completionMode: 'Indexed', completions: 16 })
    const [{ command, args }] = job.spec.template.spec.containers
    return { command: localised([...command, ...args], out), env: { JOB_COMPLETION_INDEX: index } }
  },
  'aws-batch'(index, out) {
    const text = readFileSync(join(jobs, 'aws-batch.json'), 'utf8')
    const { command } = (JSON.parse(text) as AwsBatchJob).containerProperties
    return { command: localised(command, out), env: { AWS_BATCH_JOB_ARRAY_INDEX: index } }
  },
}

interface KubernetesJob {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly { command: string[]; args: string[] }[] }
    }
  }
}

interface AwsBatchJob {
  readonly containerProperties: { readonly command: readonly string[] }
}

it.concurrent.each(Object.keys(systems))(
  '%s: tasks that are killed and rerun merge to the same bits',
  async (name) => {
    const out = join(folder, `${name}.safetensors`)
    const shard = (index: number): string => join(folder, `${name}.shard-${index}-of-2.safetensors`)
    const task = (index: number): Task => systems[name](String(index), out)
    const [first, second] = [task(0), task(1)]

    expect((await run(first.command, first.env, `${shard(0)}.parts`)).code).toBe('SIGKILL')
    expect(await run(second.command, second.env)).toMatchObject({ code: 0 })
    const merge = ['keeplight', 'merge', shard(1), '--out', out, '--quiet']
    const early = await run(merge, {})
    expect(early.code).toBe(3)
    expect(early.stderr).toContain('1 of 2 shards are missing: 0.')

    // The whole array again: what is done ends at once.
    for (const { command, env } of [first, second]) {
      expect(await run(command, env)).toMatchObject({ code: 0 })
    }
    expect(await run([...merge, shard(0)], {})).toMatchObject({ code: 0 })
    expect(readFileSync(out).equals(readFileSync(join(folder, 'whole.safetensors')))).toBe(true)
    const lines = readFileSync(out.replace('.safetensors', '.jsonl'), 'utf8')
    expect(lines).toBe(readFileSync(join(folder, 'whole.jsonl'), 'utf8'))
    expect(lines.trimEnd().split('\n')).toHaveLength(48)
  },
)
