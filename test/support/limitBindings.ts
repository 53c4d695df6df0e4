import type { Device } from '../../src/runtime/device.ts'

/** Runs `body` as on an adapter that binds at most `bytes` of a buffer; longer ones are errors. */
export async function limitBindings<R>(
  device: Device,
  bytes: number,
  body: () => Promise<R>,
): Promise<R> {
  const { limits } = device
  const limited = { ...limits, maxStorageBufferBindingSize: bytes }
  Object.defineProperty(device, 'limits', { value: limited, configurable: true })
  try {
    return await body()
  } finally {
    Object.defineProperty(device, 'limits', { value: limits, configurable: true })
  }
}
