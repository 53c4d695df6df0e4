import { parseSafetensors, serializeSafetensors } from '../../src/model/safetensors.ts'
import type { TensorData } from '../../src/model/safetensors.ts'
import { randomArray } from './random.ts'
import { smallTower, TEXT_FEATURE } from './smallTower.ts'

/** Both towers of a CLIP, narrow and random, under OpenAI's names. */
export function smallClip(): Uint8Array<ArrayBuffer> {
  const text = parseSafetensors(smallTower())
  const tensors: Record<string, TensorData> = {}
  for (const [name, { shape }] of text.tensors) {
    tensors[name] = { dtype: 'F32', shape, data: text.float32(name) }
  }
  let seed = 0
  const add = (name: string, shape: readonly number[], mean = 0): void => {
    const size = shape.reduce((a, b) => a * b, 1)
    const data = randomArray(size, ++seed, 0.4).map((value) => value + mean)
    tensors[`visual.${name}`] = { dtype: 'F32', shape, data }
  }
  const affine = (name: string, shape: readonly number[], mean = 0): void => {
    add(`${name}.weight`, shape, mean)
    add(`${name}.bias`, [shape[0]!])
  }
  const d = 64
  add('class_embedding', [d])
  add('positional_embedding', [5, d])
  add('conv1.weight', [d, 3, 16, 16])
  affine('ln_pre', [d], 1)
  const block = 'transformer.resblocks.0'
  affine(`${block}.ln_1`, [d], 1)
  add(`${block}.attn.in_proj_weight`, [3 * d, d])
  add(`${block}.attn.in_proj_bias`, [3 * d])
  affine(`${block}.attn.out_proj`, [d, d])
  affine(`${block}.ln_2`, [d], 1)
  affine(`${block}.mlp.c_fc`, [4 * d, d])
  affine(`${block}.mlp.c_proj`, [d, 4 * d])
  affine('ln_post', [d], 1)
  add('proj', [d, TEXT_FEATURE])
  return serializeSafetensors(tensors)
}
