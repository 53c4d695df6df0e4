import type { BlockWeights } from '../../src/model/checkpoint.ts'
import { VisionModel } from '../../src/model/model.ts'
import type { ImageDecoder } from '../../src/model/imageInput.ts'
import type { VitConfig } from '../../src/model/vit/config.ts'
import type { VitWeights } from '../../src/model/vit/names.ts'
import { VisionTransformer } from '../../src/model/vit/vit.ts'
import type { Device } from '../../src/runtime/device.ts'
import { randomArray } from './random.ts'

/** Of {@link smallModel}. */
export const config: VitConfig = {
  family: 'dino',
  imageSize: 8,
  patchSize: 4,
  hiddenSize: 16,
  layers: 2,
  heads: 2,
  mlpSize: 32,
  activation: 'gelu',
  layerNormEps: 1e-6,
  preNorm: false,
  registers: 0,
  projection: undefined,
}

/** How it wants pictures. */
export const preprocess = {
  size: 8,
  resize: 8,
  mean: [0.5, 0.5, 0.5],
  std: [0.25, 0.25, 0.25],
} as const

/** Two blocks of width 16 that take 8×8 pixels, random; the same at every call. */
export function smallWeights(): VitWeights {
  let seed = 0
  const values = (size: number): Float32Array<ArrayBuffer> => {
    return randomArray(size, ++seed).map((value) => value * 0.3)
  }
  const [d, m] = [config.hiddenSize, config.mlpSize]
  const affine = (size: number, width: number) => ({ weight: values(size), bias: values(width) })
  const block = (): BlockWeights => ({
    norm1: affine(d, d),
    qkv: affine(3 * d * d, 3 * d),
    out: affine(d * d, d),
    norm2: affine(d, d),
    fc1: affine(m * d, m),
    fc2: affine(d * m, d),
    layerScales: undefined,
  })
  return {
    patchWeight: values(d * 3 * 16),
    patchBias: values(d),
    classToken: values(d),
    registers: undefined,
    positions: values(5 * d),
    preNorm: undefined,
    blocks: [block(), block()],
    finalNorm: affine(d, d),
    projection: undefined,
  }
}

/** A model of {@link smallWeights}; without a decoder it takes pixels alone. */
export function smallModel(device: Device, decode?: ImageDecoder): VisionModel {
  const encoder = new VisionTransformer(device, config, smallWeights())
  const about = { name: 'small', hash: 'none', preprocess, scheme: 'none' }
  return new VisionModel(device, encoder, { ...about, ...(decode && { decode }) })
}
