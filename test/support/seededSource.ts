import type { ByteSource } from '../../src/model/byteSource.ts'
import { layoutSafetensors } from '../../src/model/safetensorsLayout.ts'
import type { Shape } from '../../src/runtime/shape.ts'
import { seededWeight } from './seeded.ts'

/** A weight file of the goldens' formula whose bytes are made when they are read, and never all there. */
export function seededSource(name: string, shapes: Readonly<Record<string, Shape>>): ByteSource {
  const specs = Object.entries(shapes).map(([tensor, shape]) => {
    return [tensor, { dtype: 'F32', shape: [...shape] }] as const
  })
  const { header, places, size } = layoutSafetensors(Object.fromEntries(specs))
  const all = [...places]
  let last: { tensor: string; bytes: Uint8Array } | undefined
  const bytesOf = (tensor: string): Uint8Array => {
    if (last?.tensor !== tensor) {
      last = { tensor, bytes: new Uint8Array(seededWeight(tensor, shapes[tensor]!).buffer) }
    }
    return last.bytes
  }
  return {
    name,
    size,
    async read(begin, end) {
      const bytes = new Uint8Array(end - begin)
      bytes.set(header.subarray(begin, end))
      for (const [tensor, place] of all) {
        const from = Math.max(begin, place.begin)
        const to = Math.min(end, place.end)
        if (from >= to) continue
        bytes.set(bytesOf(tensor).subarray(from - place.begin, to - place.begin), from - begin)
      }
      return bytes
    },
  }
}
