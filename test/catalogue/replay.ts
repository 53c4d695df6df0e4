import { record, type Device, type Tensor } from '../../src/index.ts'
import { sha256 } from '../support/sha256.ts'
import type { OpCase } from './case.ts'
import { enqueue, upload } from './run.ts'

/**
 * Records cases with their backward passes in one plan and replays it.
 *
 * @returns for each case the hashes of what the replays wrote, as {@link hashOf} makes them
 */
export async function replays(
  device: Device,
  cases: readonly OpCase[],
  count: number,
): Promise<Set<string>[]> {
  const uploads = cases.map((opCase) => upload(device, opCase))
  const named = uploads.flatMap((inputs, i) =>
    Object.entries(inputs).map(([name, tensor]): [string, Tensor] => [`${i} ${name}`, tensor]),
  )
  const plan = await record(device, Object.fromEntries(named), () =>
    cases.map((opCase, i) => enqueue(device, opCase, uploads[i]!)),
  )
  const outputs = plan.outputs.map(({ out, gradients }) => [out, ...Object.values(gradients)])
  const words = outputs.flat().reduce((sum, { byteLength }) => sum + wordsOf(byteLength), 0)
  const gathered = device.empty([words], 'u32')
  const hashes = cases.map(() => new Set<string>())
  for (let run = 0; run < count; run++) {
    plan.run()
    copyAll(device, outputs.flat(), gathered)
    const bytes = new Uint8Array((await gathered.read()).buffer)
    let at = 0
    for (const [i, tensors] of outputs.entries()) {
      const parts = tensors.map(({ byteLength }) => {
        const part = bytes.subarray(at, at + byteLength)
        at += 4 * wordsOf(byteLength)
        return part
      })
      hashes[i]!.add(await sha256(parts))
    }
  }
  gathered.dispose()
  plan.dispose()
  named.forEach(([, tensor]) => tensor.dispose())
  return hashes
}

const wordsOf = (bytes: number): number => Math.ceil(bytes / 4)

/** One copy after the other, so that the host waits for a single one. */
function copyAll({ gpu }: Device, tensors: readonly Tensor[], into: Tensor): void {
  const encoder = gpu.createCommandEncoder({ label: 'gather outputs' })
  const target = into.allocation.buffer.gpu
  let at = into.allocation.offset + into.offset
  for (const { allocation, offset, byteLength } of tensors) {
    const size = 4 * wordsOf(byteLength)
    const from = allocation.offset + offset
    encoder.copyBufferToBuffer(allocation.buffer.gpu, from, target, at, size)
    at += size
  }
  gpu.queue.submit([encoder.finish()])
}
