import { serializeSafetensors, type TensorData } from '../../src/model/safetensors.ts'
import { randomArray } from './random.ts'

/** Tokens of {@link smallTower}'s vocabulary, the real one. */
export const VOCABULARY = 49_408
/** Size of its features. */
export const TEXT_FEATURE = 32
const [D, E, LAYERS, CONTEXT] = [64, TEXT_FEATURE, 1, 77]

/** CLIP's text tower with the real vocabulary, narrow and random, under OpenAI's names. */
export function smallTower(): Uint8Array<ArrayBuffer> {
  let seed = 100
  const tensors: Record<string, TensorData> = {}
  const add = (name: string, shape: readonly number[], mean = 0): void => {
    const size = shape.reduce((a, b) => a * b, 1)
    const data = randomArray(size, ++seed, 0.4).map((value) => value + mean)
    tensors[name] = { dtype: 'F32', shape, data }
  }
  const affine = (name: string, shape: readonly number[], mean = 0): void => {
    add(`${name}.weight`, shape, mean)
    add(`${name}.bias`, [shape[0]!])
  }
  add('token_embedding.weight', [VOCABULARY, D])
  add('positional_embedding', [CONTEXT, D])
  for (let i = 0; i < LAYERS; i++) {
    const block = `transformer.resblocks.${i}`
    affine(`${block}.ln_1`, [D], 1)
    add(`${block}.attn.in_proj_weight`, [3 * D, D])
    add(`${block}.attn.in_proj_bias`, [3 * D])
    affine(`${block}.attn.out_proj`, [D, D])
    affine(`${block}.ln_2`, [D], 1)
    affine(`${block}.mlp.c_fc`, [4 * D, D])
    affine(`${block}.mlp.c_proj`, [D, 4 * D])
  }
  affine('ln_final', [D], 1)
  add('text_projection', [D, E])
  tensors['logit_scale'] = { dtype: 'F32', shape: [], data: Float32Array.of(Math.log(20)) }
  return serializeSafetensors(tensors)
}
