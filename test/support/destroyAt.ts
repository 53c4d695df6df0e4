import type { Device } from '../../src/runtime/device.ts'

/**
 * Destroys the GPU device at the given submit from now on: before it for even ones, after it for odd.
 *
 * @returns ends the watch, and tells whether it came to that
 */
export function destroyAt(device: Device, at: number): () => boolean {
  const submit = device.submit.bind(device)
  let count = 0
  device.submit = (encoder, batch) => {
    const now = count++ === at
    if (now && at % 2 === 0) device.gpu.destroy()
    submit(encoder, batch)
    if (now && at % 2 === 1) device.gpu.destroy()
  }
  return () => {
    device.submit = submit
    return count > at
  }
}
