import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** The variables of a process, `process.env` as a rule. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Where Keeplight keeps what it can make again: `KEEPLIGHT_CACHE`, else the user's cache folder. */
export function defaultCacheFolder(env: Environment): string {
  if (env.KEEPLIGHT_CACHE) return resolve(env.KEEPLIGHT_CACHE)
  const base = env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return join(base, 'keeplight')
}
