import { fork } from 'node:child_process'
import type { FileFuzzOptions, FileFuzzReport } from './files.ts'

/** No case takes this long, even on a busy machine: then it hangs. */
const HANG_MS = 20_000

type Run = Pick<FileFuzzOptions, 'count' | 'seed' | 'kinds'> & { readonly first: number }

/** What the child process tells: a case begins, or all are done. */
export type ChildMessage = { readonly begins: number } | { readonly report: FileFuzzReport }

/**
 * Mutated files, each batch of them in a process of its own: one that hangs or crashes costs its case,
 * is reported, and the rest goes on.
 *
 * @returns the number of failures, which are printed
 */
export async function runFileFuzz(run: Run): Promise<number> {
  const total = { failures: 0, longest: 0, mostBytes: 0 }
  const read: Record<string, number> = {}
  const refused: Record<string, number> = {}
  const end = run.first + run.count
  const say = (failure: string): void => {
    total.failures++
    console.log(failure)
  }
  for (let first = run.first; first < end;) {
    const { report, died } = await runChild({ ...run, first, count: Math.min(10_000, end - first) })
    if (died) say(`case ${died.index} of seed ${run.seed}: ${died.how}`)
    for (const failure of report?.failures ?? []) say(failure)
    if (report) {
      add(read, report.read)
      add(refused, report.refused)
      total.longest = Math.max(total.longest, report.longest)
      total.mostBytes = Math.max(total.mostBytes, report.mostBytes)
    }
    first = died ? died.index + 1 : Math.min(first + 10_000, end)
    console.error(`${first - run.first} of ${run.count} cases`)
  }
  for (const kind of Object.keys({ ...read, ...refused })) {
    console.log(`${kind}: ${read[kind] ?? 0} read, ${refused[kind] ?? 0} refused`)
  }
  console.log(
    `${total.failures} of ${run.count} cases failed; the longest took ${total.longest.toFixed(3)} s, ` +
      `memory grew by ${(total.mostBytes / 1e6).toFixed(0)} MB at most`,
  )
  return total.failures
}

function add(sums: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [kind, count] of Object.entries(more)) sums[kind] = (sums[kind] ?? 0) + count
}

interface ChildResult {
  readonly report?: FileFuzzReport
  readonly died?: { readonly index: number; readonly how: string }
}

function runChild(run: Run): Promise<ChildResult> {
  const child = fork(new URL('./filesChild.node.ts', import.meta.url), [JSON.stringify(run)])
  let index = run.first
  let report: FileFuzzReport | undefined
  let hung = false
  const watch = (): NodeJS.Timeout =>
    setTimeout(() => {
      hung = true
      child.kill('SIGKILL')
    }, HANG_MS)
  let watchdog = watch()
  child.on('message', (message: ChildMessage) => {
    clearTimeout(watchdog)
    watchdog = watch()
    if ('begins' in message) index = message.begins
    else report = message.report
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      clearTimeout(watchdog)
      const how = hung ? 'hangs' : `ends the process (${signal ?? `exit code ${code}`})`
      resolve(report ? { report } : { died: { index, how } })
    })
  })
}
