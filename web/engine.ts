import {
  createDevice,
  DEFAULT_MODEL,
  loadModel,
  type Device,
  type VisionModel,
} from '../src/index.ts'

/** The page's GPU and encoder. */
export interface Engine {
  readonly device: Device
  readonly model: VisionModel
}

let opening: Promise<Engine> | undefined

/** Opens the engine once; after a lost device or a failure, once more. */
export function openEngine(): Promise<Engine> {
  if (!opening) {
    const current = start()
    opening = current
    const forget = (): void => {
      if (opening === current) opening = undefined
    }
    current.then(({ device }) => device.lost.then(forget), forget)
  }
  return opening
}

async function start(): Promise<Engine> {
  const device = await createDevice()
  try {
    return { device, model: await loadModel(DEFAULT_MODEL, { device }) }
  } catch (error) {
    device.close()
    throw error
  }
}

/** What the adapter calls itself. */
export function adapterName({ adapter }: Device): string {
  const { description, vendor, architecture } = adapter
  const name = description || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed'
  return adapter.software ? `${name} (a processor that stands in for a GPU: slow)` : name
}
