import { createDevice, matmul } from '../../index.node.ts'
import type { AdapterDescription, Device } from '../../index.node.ts'
import { reasonOf } from './finding.ts'

/** An adapter, and whether it computes right. */
export interface ProbedAdapter {
  readonly adapter: AdapterDescription
  readonly features: readonly string[]
  readonly limits: Readonly<Record<string, number>>
  /** Undefined when all products were right. */
  readonly wrong?: string
}

/** What looking for adapters came to. */
export interface Probe {
  readonly adapters: readonly ProbedAdapter[]
  /** Why there are none, or no more. */
  readonly error?: string
  /** The signal that ended the process that looked. */
  readonly signal?: string
}

/** Looks for adapters, of the one name or by both preferences, and lets each compute. */
export async function probeAdapters(name: string | undefined): Promise<Probe> {
  const adapters: ProbedAdapter[] = []
  const preferences =
    name === undefined ? (['high-performance', 'low-power'] as const) : ([] as const)
  let error: string | undefined
  for (const powerPreference of name === undefined
    ? preferences
    : (['high-performance'] as const)) {
    try {
      const device = await createDevice({ adapter: name, powerPreference })
      try {
        const { adapter, features, limits } = device
        if (adapters.some((found) => found.adapter.description === adapter.description)) continue
        const wrong = await checkProducts(device).catch(reasonOf)
        adapters.push({ adapter, features: [...features], limits, ...(wrong && { wrong }) })
      } finally {
        device.close()
      }
    } catch (cause) {
      error ??= reasonOf(cause)
    }
  }
  return { adapters, ...(error !== undefined && { error }) }
}

/**
 * A product of matrices of small whole numbers, which f32 holds exactly.
 *
 * @returns what is wrong, if anything
 */
async function checkProducts(device: Device): Promise<string | undefined> {
  const [rows, inner, columns] = [65, 48, 33]
  const a = Float32Array.from({ length: rows * inner }, (_, i) => ((i * 7) % 17) - 8)
  const b = Float32Array.from({ length: inner * columns }, (_, i) => ((i * 5) % 13) - 6)
  const product = matmul(device.tensor(a, [rows, inner]), device.tensor(b, [inner, columns]))
  const actual = await product.read()
  for (let i = 0; i < actual.length; i++) {
    const [row, column] = [Math.floor(i / columns), i % columns]
    let expected = 0
    for (let k = 0; k < inner; k++) expected += a[row * inner + k] * b[k * columns + column]
    if (actual[i] !== expected) {
      return `element ${row}, ${column} of a ${rows}×${inner}×${columns} product is ${actual[i]}, expected ${expected}`
    }
  }
  return undefined
}
