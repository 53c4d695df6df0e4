import type { Device } from '../../src/runtime/device.ts'

/**
 * Makes the GPU run out of memory without using any: buffers for which `fails` says so come back
 * invalid, with an out-of-memory error in their error scope, as WebGPU has it.
 *
 * @returns a function that ends it
 */
export function failAllocations({ gpu }: Device, fails: (bytes: number) => boolean): () => void {
  const createBuffer = gpu.createBuffer.bind(gpu)
  const popErrorScope = gpu.popErrorScope.bind(gpu)
  // Allocations pop their validation scope first, then the one for memory.
  let popsUntilMemory = 0
  gpu.createBuffer = (descriptor) => {
    if (!fails(descriptor.size)) return createBuffer(descriptor)
    popsUntilMemory = 2
    gpu.pushErrorScope('validation')
    const invalid = createBuffer({ ...descriptor, usage: 0x1 | 0x2 | 0x80 })
    void popErrorScope()
    return invalid
  }
  gpu.popErrorScope = () => {
    const popped = popErrorScope()
    if (popsUntilMemory === 0 || --popsUntilMemory > 0) return popped
    return popped.then(() => ({ message: 'injected' }))
  }
  return () => Object.assign(gpu, { createBuffer, popErrorScope })
}
