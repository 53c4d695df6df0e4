import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Environment } from '../runtime/cacheFolder.node.ts'
import { KeeplightError } from '../runtime/errors.ts'

/** What the variables of Hugging Face's own tools say about hub and cache. */
export interface HubEnvironment {
  /** `HF_ENDPOINT`, without a slash at its end. */
  readonly endpoint: string
  /** Folder of the cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`. */
  readonly cache: string
  /** `HF_HUB_OFFLINE`: nothing but the cache. */
  readonly offline: boolean
  /** Milliseconds without a byte after which a connection is given up. */
  readonly timeout: number
  /** File of the token where `HF_TOKEN` has none. */
  readonly tokenFile: string
  readonly token: string | undefined
}

/** @throws KeeplightError `usage` when a variable makes no sense; its value is never quoted if it may be secret */
export function hubEnvironment(env: Environment): HubEnvironment {
  const home = env.HF_HOME
    ? folderOf(env.HF_HOME)
    : join(
        env.XDG_CACHE_HOME ? folderOf(env.XDG_CACHE_HOME) : join(homedir(), '.cache'),
        'huggingface',
      )
  const cache = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE
  return {
    endpoint: endpointOf(env.HF_ENDPOINT || 'https://huggingface.co'),
    cache: cache ? folderOf(cache) : join(home, 'hub'),
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ''),
    timeout: secondsOf(env.HF_HUB_DOWNLOAD_TIMEOUT || '10') * 1000,
    tokenFile: env.HF_TOKEN_PATH ? folderOf(env.HF_TOKEN_PATH) : join(home, 'token'),
    token: env.HF_TOKEN?.trim() || undefined,
  }
}

function folderOf(path: string): string {
  return resolve(path.replace(/^~(?=$|[/\\])/, homedir))
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search) {
    throw new KeeplightError(
      'usage',
      'HF_ENDPOINT should be an http or https address without user name, password and query, ' +
        'such as https://huggingface.co',
    )
  }
  return url.href.replace(/\/+$/, '')
}

function secondsOf(text: string): number {
  const seconds = Number(text)
  if (seconds > 0 && seconds < 86_400) return seconds
  throw new KeeplightError(
    'usage',
    `HF_HUB_DOWNLOAD_TIMEOUT should be a number of seconds, got ${JSON.stringify(text)}`,
  )
}

/**
 * The user's token, or undefined: there is none, or the endpoint is plain http to another machine,
 * where everyone on the way could read it.
 */
export async function hubToken({
  endpoint,
  token,
  tokenFile,
}: HubEnvironment): Promise<string | undefined> {
  if (!mayCarryToken(new URL(endpoint))) return undefined
  const found = token ?? (await readFile(tokenFile, 'utf8').catch(() => '')).trim()
  if (!found) return undefined
  // As a header it would be refused with a message that quotes it.
  if (!/^[\x21-\x7e]+$/.test(found)) {
    throw new KeeplightError(
      'usage',
      `the token of the hub (HF_TOKEN, else the file ${tokenFile}) has characters that no token has`,
    )
  }
  return found
}

function mayCarryToken({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)
}
