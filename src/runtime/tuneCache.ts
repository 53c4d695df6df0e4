import { kernelSource } from '../kernels/kernel.ts'
import type { Device } from './device.ts'
import { tunableFamilies } from './ops/tunables.ts'
import type { TunedProblem } from './tune.ts'

/** A place for texts by name: a folder in Node, IndexedDB in a page. */
export interface TuneStore {
  load(name: string): Promise<string | undefined>
  save(name: string, text: string): Promise<void>
}

const FORMAT = 'keeplight-tuning'
/** Raise when a variant's name comes to mean something else without a change of its kernel's text. */
const VERSION = 1
/** Far above what a file of ours can have. */
const MAX_LENGTH = 2 ** 20

/**
 * What tuned choices hold for: this adapter with this driver, and kernels of this text. Anything else
 * must be measured again.
 *
 * @returns hexadecimal, 64 digits
 */
export async function tuningKey(device: Device): Promise<string> {
  const { vendor, architecture, description, software, subgroupSize } = device.adapter
  const kernels = tunableFamilies.flatMap((family) => family.kernels(device).map(kernelSource))
  // Descriptions name the driver; the card itself is in its own field, where it may be told, and in limits.
  const card = [device.gpu.adapterInfo.device, device.features, device.limits]
  const parts = [VERSION, vendor, architecture, description, software, subgroupSize]
  const text = JSON.stringify([...parts, ...card, kernels])
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * Saves the choices that differ from the rules, in place of what was saved for this adapter before.
 *
 * @param families those that were tuned; what is saved for the others stays. All by default
 */
export async function saveTuning(
  device: Device,
  results: readonly TunedProblem[],
  store: TuneStore,
  families?: readonly string[],
): Promise<void> {
  const key = await tuningKey(device)
  const before = families ? await store.load(key).catch(() => undefined) : undefined
  const found = before === undefined ? [] : parseTuning(before, key).choices
  const kept = found.filter(([family]) => !families?.includes(family))
  const tuned = results
    .filter(({ best, rule }) => best !== rule)
    .map(({ family, key, best }) => [family, key, best])
  const choices = [...kept, ...tuned]
  const { description, vendor } = device.adapter
  const adapter = description || vendor
  await store.save(key, JSON.stringify({ format: FORMAT, version: VERSION, key, adapter, choices }))
}

/**
 * Takes over the choices that were saved for this adapter and these kernels. What is damaged, of
 * another adapter or of another version is passed over; so is, later, a variant that can't run a
 * problem. Results can't become wrong by it: all candidates of a problem agree within its tolerance.
 *
 * @param onDamage told what is wrong with what was saved, where something is
 * @returns how many choices were taken over
 */
export async function loadTuning(
  device: Device,
  store: TuneStore,
  onDamage?: (reason: string) => void,
): Promise<number> {
  const key = await tuningKey(device)
  const text = await store.load(key).catch((error: unknown) => {
    onDamage?.(`it can't be read: ${String(error)}`)
    return undefined
  })
  if (text === undefined) return 0
  const { choices, damage } = parseTuning(text, key)
  if (damage !== undefined) onDamage?.(damage)
  choices.forEach(([family, problem, variant]) => device.choices.set(family, problem, variant))
  return choices.length
}

type Choice = readonly [family: string, problem: string, variant: string]

interface Parsed {
  readonly choices: readonly Choice[]
  /** What is wrong with the rest, if anything. */
  readonly damage?: string
}

function parseTuning(text: string, key: string): Parsed {
  const none = (damage: string): Parsed => ({ choices: [], damage })
  if (text.length > MAX_LENGTH) return none(`it has more than ${MAX_LENGTH} characters`)
  let file: unknown
  try {
    file = JSON.parse(text)
  } catch {
    return none('it is no JSON')
  }
  if (typeof file !== 'object' || file === null) return none('it is no JSON object')
  const found = file as Readonly<Record<string, unknown>>
  if (found['format'] !== FORMAT || found['version'] !== VERSION) {
    return none(`it is not of format ${FORMAT}, version ${VERSION}`)
  }
  if (found['key'] !== key) return none('it was saved for another adapter or other kernels')
  const listed: unknown = found['choices']
  if (!Array.isArray(listed)) return none('its choices are no list')
  const choices = listed.filter(isChoice)
  const wrong = listed.length - choices.length
  if (wrong === 0) return { choices }
  return { choices, damage: `${wrong} of its ${listed.length} choices are malformed` }
}

function isChoice(value: unknown): value is Choice {
  if (!Array.isArray(value) || value.length !== 3) return false
  if (!value.every((item) => typeof item === 'string')) return false
  return tunableFamilies.some(({ choice }) => choice.family === value[0])
}

/** Texts in IndexedDB, for pages. */
export function indexedDbStore(name = 'keeplight-tuning'): TuneStore {
  const TABLE = 'choices'
  const open = async (): Promise<IDBDatabase> => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE)
    return settled(request)
  }
  const use = async <R>(
    mode: IDBTransactionMode,
    action: (table: IDBObjectStore) => IDBRequest<R>,
  ): Promise<R> => {
    const database = await open()
    try {
      return await settled(action(database.transaction(TABLE, mode).objectStore(TABLE)))
    } finally {
      database.close()
    }
  }
  return {
    async load(key) {
      const value = await use<unknown>('readonly', (table) => table.get(key))
      return typeof value === 'string' ? value : undefined
    },
    async save(key, text) {
      await use('readwrite', (table) => table.put(text, key))
    },
  }
}

function settled<R>(request: IDBRequest<R>): Promise<R> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('IndexedDB failed'))
  })
}
