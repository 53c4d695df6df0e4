import { randomBytes } from 'node:crypto'
import { open, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { pause } from './hubRequest.node.ts'

/**
 * One process at a time downloads a file; the others wait and find it done.
 *
 * The lock is a file that its holder touches every few seconds. One that nobody touches, or whose
 * process is gone, was left by a kill and is taken over. Should that judgement ever be wrong (a holder
 * that slept for a minute), two processes write the same bytes at the same places of one file, and its
 * hash decides: nothing is corrupted, only fetched twice. Python's tools lock by other means (`flock`,
 * which Node lacks) and use other names for what is incomplete, so they are not in the way.
 */
const BEAT = 5_000
const STALE = 60_000
const POLL = 200

/** Locks that this process holds; any other with its number was an earlier process's. */
const held = new Set<string>()

/** Runs `work` while this process alone holds the lock at `path`. */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  /** Called now and then while another process holds it. */
  onWait: () => Promise<void>,
  work: () => Promise<T>,
): Promise<T> {
  const text = JSON.stringify({
    host: hostname(),
    pid: process.pid,
    id: randomBytes(8).toString('hex'),
  })
  while (!(await take(path, text))) {
    await breakStale(path)
    await onWait()
    await pause(POLL, signal)
  }
  const beat = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => undefined)
  }, BEAT)
  try {
    return await work()
  } finally {
    clearInterval(beat)
    const current = await readFile(path, 'utf8').catch(() => '')
    if (current === text) await rm(path, { force: true })
    held.delete(text)
  }
}

async function take(path: string, text: string): Promise<boolean> {
  const file = await open(path, 'wx').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return undefined
    throw error
  })
  if (!file) return false
  held.add(text)
  try {
    await file.writeFile(text).finally(() => file.close())
    return true
  } catch (error) {
    held.delete(text)
    await rm(path, { force: true })
    throw error
  }
}

async function breakStale(path: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  const entry = await stat(path).catch(() => undefined)
  if (text === undefined || !entry) return
  if (Date.now() - entry.mtimeMs < STALE && !isDead(text)) return
  // Of several that find it stale, one moves it away.
  const moved = `${path}.${randomBytes(4).toString('hex')}`
  await rename(path, moved).catch(() => undefined)
  await rm(moved, { force: true })
}

/** Whether the lock's process ran on this machine and does no more. */
function isDead(text: string): boolean {
  try {
    const { host, pid } = JSON.parse(text) as { host?: unknown; pid?: unknown }
    if (host !== hostname() || typeof pid !== 'number') return false
    if (pid === process.pid) return !held.has(text)
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
