import { KeeplightError } from './errors.ts'
import { lossError, soon } from './loss.ts'

export interface AdapterDescription {
  readonly vendor: string
  readonly architecture: string
  readonly description: string
  /** A CPU rasteriser (lavapipe, SwiftShader), where loads are dear and broadcasts cheap. */
  readonly software: boolean
  /** Lanes of a subgroup when the adapter fixes their number, else 0. */
  readonly subgroupSize: number
}

/** Where adapters come from; each gives a device once. */
export type AdapterSource = () => Promise<GPUAdapter | null>

const FEATURES = [
  'shader-f16',
  'subgroups',
  'timestamp-query',
  'chromium-experimental-subgroup-matrix',
] as const

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxStorageBuffersPerShaderStage',
] as const

export type Limits = Readonly<Record<(typeof LIMITS)[number], number>>

export const limitsOf = ({ limits }: GPUDevice): Limits =>
  Object.fromEntries(LIMITS.map((name) => [name, limits[name]])) as Limits

/**
 * A device with every useful feature and limit that the adapter has.
 *
 * @throws KeeplightError `device` when the adapter gives none, `device-lost` when it is lost at birth
 */
export async function requestGpu(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredFeatures = FEATURES.filter((name) =>
    adapter.features.has(name as GPUFeatureName),
  ) as GPUFeatureName[]
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]))
  const gpu = await adapter
    .requestDevice({ label: 'keeplight', requiredFeatures, requiredLimits })
    .catch((cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new KeeplightError('device', `the adapter gave no device: ${reason}`, { cause })
    })
  // WebGPU may hand out a device that is lost already.
  const lost = await soon(gpu.lost, 0)
  if (lost) throw lossError(lost)
  return gpu
}

export function describeAdapter(info: GPUAdapterInfo): AdapterDescription {
  const { vendor, architecture, description, subgroupMinSize, subgroupMaxSize } = info
  return {
    vendor,
    architecture,
    description,
    software: /llvmpipe|lavapipe|swiftshader/i.test(`${architecture} ${description}`),
    subgroupSize: subgroupMinSize === subgroupMaxSize ? (subgroupMinSize ?? 0) : 0,
  }
}
