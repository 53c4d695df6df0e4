import { serializeSafetensors } from '../../src/index.node.ts'

/**
 * A file that fits `dino-vit-s-16`: its tensors by their names on the hub, all zeros but the last
 * bias, which is therefore the feature of any picture: 0, 1, 2 …
 */
export function blankDino(): Uint8Array {
  const [width, layers, patches] = [384, 12, 196]
  const shapes: [string, number[]][] = [
    ['embeddings.cls_token', [1, 1, width]],
    ['embeddings.position_embeddings', [1, patches + 1, width]],
    ['embeddings.patch_embeddings.projection.weight', [width, 3, 16, 16]],
    ['embeddings.patch_embeddings.projection.bias', [width]],
    ['layernorm.weight', [width]],
    ['layernorm.bias', [width]],
  ]
  for (let layer = 0; layer < layers; layer++) {
    const dense = (name: string, out: number, inner: number): void => {
      shapes.push([`encoder.layer.${layer}.${name}.weight`, [out, inner]])
      shapes.push([`encoder.layer.${layer}.${name}.bias`, [out]])
    }
    for (const norm of ['layernorm_before', 'layernorm_after']) {
      shapes.push([`encoder.layer.${layer}.${norm}.weight`, [width]])
      shapes.push([`encoder.layer.${layer}.${norm}.bias`, [width]])
    }
    for (const name of ['query', 'key', 'value']) dense(`attention.attention.${name}`, width, width)
    dense('attention.output.dense', width, width)
    dense('intermediate.dense', 4 * width, width)
    dense('output.dense', width, 4 * width)
  }
  const tensors = shapes.map(([name, shape]) => {
    const data = new Float32Array(shape.reduce((count, length) => count * length, 1))
    if (name === 'layernorm.bias') data.forEach((_, i) => (data[i] = i))
    return [name, { dtype: 'F32', shape, data }] as const
  })
  return serializeSafetensors(Object.fromEntries(tensors))
}
