import { afterAll, beforeAll } from 'vitest'
import type { Device } from '../../src/runtime/device.ts'

/** A device on the adapter that this test project names, in Node or in the page. */
export async function openDevice(): Promise<Device> {
  if (typeof window !== 'undefined') {
    const { createDevice } = await import('../../src/runtime/device.ts')
    return createDevice()
  }
  const { createDevice } = await import(/* @vite-ignore */ '../../src/runtime/adapter.node.ts')
  return createDevice()
}

/** Opens a device for the tests of the enclosing suite and closes it after them. */
export function useDevice(): () => Device {
  let device: Device | undefined
  beforeAll(async () => {
    device = await openDevice()
  })
  afterAll(() => device?.close())
  return () => device!
}
