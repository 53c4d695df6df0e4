import { describe, expect, it } from 'vitest'
import { parameterShapes, type HeadWeights, type MlpHeadConfig } from '../../src/model/mlpHead.ts'
import { parseSafetensors, serializeSafetensors } from '../../src/model/safetensors.ts'
import type { TensorData } from '../../src/model/safetensors.ts'
import { assertSameModel, loadHead, serializeHead } from '../../src/train/headFile.ts'
import { predictClusters } from '../../src/train/predict.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

const about = { model: 'tiny', modelHash: 'ab12', method: 'scp', settings: { k: 3, noise: 2 } }
const batchNormed: MlpHeadConfig = { widths: [8, 8, 6, 3], norm: 'batch' }

function randomHead(config: MlpHeadConfig): HeadWeights {
  let seed = 0
  const random = (size: number): Float32Array => randomArray(size, ++seed)
  const weights = new Map(
    Array.from(parameterShapes(config), ([name, shape]) => {
      const data = random(shape.reduce((a, b) => a * b))
      return [name, { shape, data }] as const
    }),
  )
  const hidden = config.norm === 'batch' ? config.widths.slice(1, -1) : []
  hidden.forEach((width, layer) => {
    const name = `${3 * layer + 1}.running_`
    weights.set(`${name}mean`, { shape: [width], data: random(width) })
    const data = random(width).map((value) => value + 1.5)
    weights.set(`${name}var`, { shape: [width], data })
  })
  return weights
}

/** A file whose tensors or metadata were changed. */
function changed(
  change: (tensors: Record<string, TensorData>, metadata: Record<string, string>) => void,
): Uint8Array {
  const file = parseSafetensors(serializeHead(randomHead(batchNormed), about))
  const tensors: Record<string, TensorData> = {}
  for (const [name, { dtype, shape }] of file.tensors) {
    tensors[name] = { dtype, shape, data: file.float32(name) }
  }
  const metadata = Object.fromEntries(file.metadata)
  change(tensors, metadata)
  return serializeSafetensors(tensors, metadata)
}

describe('a head’s file', () => {
  it('gives back what was written', () => {
    const weights = randomHead(batchNormed)
    const bytes = serializeHead(weights, about, { keeplight: '1.2.3' })
    const { weights: read, ...rest } = loadHead(bytes)
    expect(rest).toEqual({ ...about, dimension: 8, k: 3 })
    expect([...read.keys()].sort()).toEqual([...weights.keys()].sort())
    for (const [name, { shape, data }] of weights) expect(read.get(name)).toEqual({ shape, data })
    expect(parseSafetensors(bytes).metadata.get('keeplight')).toBe('1.2.3')
  })

  it('is by SCP where it names no method, as files were before', () => {
    expect(loadHead(changed((_, metadata) => delete metadata.method)).method).toBe('scp')
  })

  const with_ = (entries: Record<string, string>) =>
    changed((_, metadata) => Object.assign(metadata, entries))
  it.each([
    ['no safetensors file', new Uint8Array(20), /^h: safetensors: /],
    [
      'a file of features',
      with_({ format: 'keeplight-features' }),
      /^h: .*has the format keeplight-features/,
    ],
    ['a file of weights', changed((_, data) => delete data.format), /this file names no format/],
    ['another method', with_({ method: 'valueOf' }), /method valueOf, expected one of scp/],
    ['a missing matrix', changed((t) => delete t['3.weight']), /matrices at 0, 6/],
    ['the first matrix', changed((t) => delete t['0.weight']), /lacks the matrix 0\.weight/],
    [
      'missing statistics',
      changed((t) => delete t['1.running_var']),
      /lacks the tensor 1\.running_var/,
    ],
    [
      'another shape',
      changed((t) => (t['6.bias'] = { dtype: 'F32', shape: [4], data: new Float32Array(4) })),
      /6\.bias of shape \[4\], expected \[3\]/,
    ],
    ['another K', with_({ k: '4' }), /say 4 clusters, its last layer has 3/],
    ['no model', changed((_, metadata) => delete metadata.model_hash), /lack model or model_hash/],
    ['settings', with_({ settings: '[1]' }), /settings that are no JSON object/],
    [
      'a weight that is no number',
      changed((t) => (t['6.bias'].data as Float32Array).set([NaN], 1)),
      /element 1 of 6\.bias is NaN/,
    ],
  ])('is refused: %s', (_, bytes, message) => {
    const error = errorOf(() => loadHead(bytes, 'h'))
    expect(error.code).toBe('format')
    expect(error.message).toMatch(message)
  })

  it('is not written for weights that are no head', () => {
    const weights = new Map([['1.weight', { shape: [2, 2], data: new Float32Array(4) }]])
    expect(errorOf(() => serializeHead(weights, about)).message).toMatch(/lacks the matrix 0/)
    expect(errorOf(() => serializeHead(weights, { ...about, method: 'x' })).code).toBe('validation')
  })

  it('belongs to one model', () => {
    const head = { ...about, dimension: 8 }
    assertSameModel(head, { name: 'renamed', hash: 'ab12', dimension: 8 })
    const other = { name: 'other', hash: 'cd34', dimension: 8 }
    const error = errorOf(() => assertSameModel(head, other, 'head.safetensors'))
    expect(error.code).toBe('input')
    expect(error.message).toMatch(/head\.safetensors: .*tiny .*hash ab12.*other .*hash cd34/)
  })
})

describe('predictClusters', () => {
  const device = useDevice()

  it.each([
    ['BatchNorm', 'scp', batchNormed],
    ['no BatchNorm', 'scp', { widths: [8, 5, 3], norm: 'none' as const }],
    ['one layer', 'linear-probe', { widths: [8, 3], norm: 'none' as const }],
  ])('computes what plain loops do: %s', async (_, method, config) => {
    const weights = randomHead(config)
    const head = loadHead(serializeHead(weights, { ...about, method }))
    const data = randomArray(7 * 8, 99, 3)
    const { logits, probabilities, assignments, ...sizes } = await predictClusters(device(), head, {
      ...{ count: 7, dimension: 8, data },
    })
    expect(sizes).toEqual({ count: 7, k: 3 })
    for (let row = 0; row < 7; row++) {
      const expected = forward(config, weights, [...data.subarray(row * 8, row * 8 + 8)])
      const shares = expected.map((value) => Math.exp(value))
      const sum = shares.reduce((a, b) => a + b)
      expected.forEach((value, k) => {
        expect(logits[row * 3 + k]).toBeCloseTo(value, 4)
        expect(probabilities[row * 3 + k]).toBeCloseTo(shares[k]! / sum, 5)
      })
      expect(assignments[row]).toBe(expected.indexOf(Math.max(...expected)))
    }
  })

  it('refuses features of another size', async () => {
    const head = loadHead(serializeHead(randomHead(batchNormed), about))
    const features = { count: 1, dimension: 4, data: new Float32Array(4) }
    const { message } = await rejectionOf(predictClusters(device(), head, features))
    expect(message).toMatch(/features have 4 values, the head takes 8; embed with its model, tiny/)
  })
})

/** Logits of one image in double precision. */
function forward({ widths, norm }: MlpHeadConfig, weights: HeadWeights, x: number[]): number[] {
  const value = (name: string, i: number): number => weights.get(name)?.data[i] ?? 0
  const length = Math.hypot(...x)
  let y = x.map((entry) => entry / length)
  for (let layer = 0; layer + 1 < widths.length; layer++) {
    const at = layer * (norm === 'batch' ? 3 : 2)
    const hidden = layer + 2 < widths.length
    const input = y
    y = Array.from({ length: widths[layer + 1]! }, (_, o) => {
      let sum = value(`${at}.bias`, o)
      input.forEach((entry, i) => (sum += entry * value(`${at}.weight`, o * input.length + i)))
      if (hidden && norm === 'batch') {
        const norm = `${at + 1}`
        const deviation = Math.sqrt(value(`${norm}.running_var`, o) + 1e-5)
        const centred = (sum - value(`${norm}.running_mean`, o)) / deviation
        sum = centred * value(`${norm}.weight`, o) + value(`${norm}.bias`, o)
      }
      return hidden ? Math.max(sum, 0) : sum
    })
  }
  return y
}
