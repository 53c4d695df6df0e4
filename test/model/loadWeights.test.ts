import { describe, expect, it } from 'vitest'
import { blobSource, bufferSource, type ByteSource } from '../../src/model/byteSource.ts'
import { checkWeights, type MatrixCheck, type PlainCheck } from '../../src/model/canary.ts'
import type { DeviceLeaves } from '../../src/model/checkpoint.ts'
import type { WeightDtype } from '../../src/model/convertWeights.ts'
import { floatsToHalves, halvesToFloats } from '../../src/model/half.ts'
import { loadVit } from '../../src/model/loadTowers.ts'
import { loadWeights } from '../../src/model/loadWeights.ts'
import { modelFromBytes, modelFromSource } from '../../src/model/model.ts'
import { quantizeRows } from '../../src/model/quantizeRows.ts'
import { serializeSafetensors, type TensorData } from '../../src/model/safetensors.ts'
import { openSafetensors, type LoadProgress } from '../../src/model/safetensorsSource.ts'
import { planVit, type VitWeights } from '../../src/model/vit/names.ts'
import { classRowsOf, type VisionTransformer } from '../../src/model/vit/vit.ts'
import type { TensorArray } from '../../src/runtime/dtype.ts'
import type { Device } from '../../src/runtime/device.ts'
import type { QuantizedWeight } from '../../src/runtime/ops/quantize.ts'
import { recoverDevice } from '../../src/runtime/recovery.ts'
import { Tensor } from '../../src/runtime/tensor.ts'
import { cosine, hashBits } from '../support/compare.ts'
import { openDevice, useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'
import { clipShapes, seededWeight } from '../support/seeded.ts'

const shapes = clipShapes({ imageSize: 16, patch: 8, width: 64, layers: 2 }, 32)

type Convert = (name: string, values: Float32Array<ArrayBuffer>) => Record<string, TensorData>
const asF32: Convert = (name, data) => ({ [name]: { dtype: 'F32', shape: shapes[name]!, data } })

/** A small CLIP, its vision half in one dtype, with a text half that nothing here may read. */
function clipFile(convert: Convert = asF32): Uint8Array<ArrayBuffer> {
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    return convert(name, seededWeight(name, shape))
  })
  const text = {
    dtype: 'F32',
    shape: [100_000],
    data: new Float32Array(100_000).fill(NaN),
  } as const
  return serializeSafetensors(Object.assign({ 'text_model.x': text }, ...tensors) as never)
}

/** The same bytes from a source that is read by ranges, whatever its size. */
function ranged(bytes: Uint8Array<ArrayBuffer>): ByteSource & { fetched: number } {
  const inner = bufferSource('ranged', bytes)
  return {
    name: 'ranged',
    size: bytes.length,
    fetched: 0,
    // As of a file that is hashed, so that it counts as no small one.
    sha256: inner.sha256,
    async read(begin, end, signal) {
      this.fetched += end - begin
      return inner.read(begin, end, signal)
    },
  }
}

async function featureOf(device: Device, encoder: VisionTransformer): Promise<Float32Array> {
  const pixels = device.tensor(randomArray(2 * 3 * 256, 5), [2, 3, 16, 16])
  const rows = device.tensor(classRowsOf(2, 5), [2])
  const { feature, tokens } = encoder.forward(pixels, rows)
  const values = await feature.read()
  for (const tensor of [pixels, rows, feature, tokens]) tensor.dispose()
  return values
}

describe('loading', () => {
  const device = useDevice()

  it('reads the vision half alone, tells its bytes, and leaves nothing but the weights', async () => {
    const file = clipFile()
    const source = ranged(file)
    const progress: LoadProgress[] = []
    const before = device().stats().usedBytes
    const options = { device: device(), onProgress: (now: LoadProgress) => void progress.push(now) }
    const model = await modelFromSource('small', source, options)
    expect(source.fetched).toBeLessThan(file.length - 350_000)
    expect(progress[0]!.bytes).toBe(0)
    expect(progress.at(-1)!.bytes).toBe(progress.at(-1)!.total)
    expect(progress.at(-1)!.total).toBeLessThan(source.fetched)
    expect(model.hash).toBe(await source.sha256!())
    expect(model.scheme).toBe('Hugging Face CLIP')
    const whole = await modelFromBytes('small', file, { device: device() })
    expect(whole.hash).toBe(model.hash)
    expect(hashBits(await featureOf(device(), whole.encoder))).toBe(
      hashBits(await featureOf(device(), model.encoder)),
    )
    await model.dispose()
    await whole.dispose()
    expect(device().stats().usedBytes).toBe(before)
  })

  it('keeps a quarter in int8, half in f16, and the feature close', async () => {
    const file = clipFile()
    const features: Float32Array[] = []
    const bytes: number[] = []
    const hashes: string[] = []
    for (const dtype of ['f32', 'f16', 'int8'] as const) {
      const before = device().stats().usedBytes
      const { encoder, hash } = await loadVit(ranged(file), { device: device(), dtype })
      bytes.push(device().stats().usedBytes - before)
      hashes.push(hash)
      features.push(await featureOf(device(), encoder))
      encoder.dispose()
    }
    expect(hashes).toEqual([hashes[0], `${hashes[0]}-f16`, `${hashes[0]}-int8`])
    expect(cosine(features[1]!, features[0]!)).toBeGreaterThan(0.9999)
    expect(cosine(features[2]!, features[0]!)).toBeGreaterThan(0.999)
    expect(cosine(features[2]!, features[0]!)).toBeLessThan(1)
    expect(bytes[1]! / bytes[0]!).toBeLessThan(0.75)
    expect(bytes[2]! / bytes[1]!).toBeLessThan(0.85)
  })

  it('gives f16, bf16 and int8 files the features of their values, and their own bits', async () => {
    const halves: Convert = (name, values) => {
      const data = floatsToHalves(values)
      return { [name]: { dtype: 'F16', shape: shapes[name]!, data } }
    }
    const rounded = (name: string, values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> =>
      name.endsWith('.weight') && shapes[name]!.length === 2 && !name.includes('embedding')
        ? values
        : new Float32Array(0)
    const int8: Convert = (name, values) => {
      if (rounded(name, values).length === 0) return asF32(name, values)
      const [out, inner] = shapes[name] as [number, number]
      const kept = quantizeRows(values, out, inner)
      return {
        [name]: { dtype: 'I8', shape: [out, inner], data: kept.values },
        [`${name}.scale`]: { dtype: 'F32', shape: [out], data: kept.scales },
      }
    }
    const feature = async (convert: Convert, dtype: WeightDtype): Promise<string> => {
      const source = bufferSource('file', clipFile(convert))
      const { encoder } = await loadVit(source, { device: device(), dtype })
      const values = await featureOf(device(), encoder)
      encoder.dispose()
      return hashBits(values)
    }
    const throughHalf: Convert = (name, values) =>
      asF32(name, halvesToFloats(floatsToHalves(values)))
    expect(await feature(halves, 'f32')).toBe(await feature(throughHalf, 'f32'))
    expect(await feature(halves, 'f16')).toBe(await feature(throughHalf, 'f16'))
    expect(await feature(int8, 'int8')).toBe(await feature(asF32, 'int8'))
    expect(await feature(int8, 'f32')).not.toBe(await feature(asF32, 'f32'))
  })

  it('stops by its signal, and frees what it had loaded', async () => {
    const before = device().stats().usedBytes
    const controller = new AbortController()
    const source = ranged(clipFile())
    const { read } = source
    let reads = 0
    source.read = (begin, end, signal) => {
      if (++reads === 3) controller.abort()
      return read.call(source, begin, end, signal)
    }
    const { signal } = controller
    const error = await rejectionOf(loadVit(source, { device: device(), signal }))
    expect(error.code).toBe('aborted')
    expect(device().stats().usedBytes).toBe(before)
  })

  it('refuses weights that are not finite, or too large for f16', async () => {
    const name = 'vision_model.encoder.layers.1.mlp.fc1.weight'
    const withValue = (value: number): ByteSource =>
      bufferSource(
        'file',
        clipFile((each, values) => {
          if (each === name) values[70] = value
          return asF32(each, values)
        }),
      )
    const load = (value: number, dtype: WeightDtype) =>
      rejectionOf(loadVit(withValue(value), { device: device(), dtype }))
    for (const value of [NaN, Infinity, -Infinity]) {
      const error = await load(value, 'int8')
      expect(error.code).toBe('format')
      expect(error.message).toContain(`${name}: element 70 is ${value}, expected finite`)
    }
    expect((await load(70_000, 'f16')).message).toContain(`${name}: 70000 is beyond f16's 65,504`)
  })

  it('comes back after a loss from a Blob, of which the host keeps nothing, or from its copy', async () => {
    const own = await openDevice()
    try {
      const file = clipFile()
      const blob = blobSource(new Blob([file]), 'file')
      // Larger than what is read whole, it would be read by ranges.
      const direct: ByteSource = { ...blob, sha256: async () => 'x' }
      const encoders: VisionTransformer[] = []
      for (const source of [direct, bufferSource('file', file)]) {
        encoders.push((await loadVit(source, { device: own, dtype: 'int8' })).encoder)
      }
      const hashes = async (): Promise<string[]> => {
        const all: string[] = []
        for (const encoder of encoders) all.push(hashBits(await featureOf(own, encoder)))
        return all
      }
      const before = await hashes()
      own.gpu.destroy()
      await own.lost
      await recoverDevice(own)
      expect(await hashes()).toEqual(before)
    } finally {
      own.close()
    }
  })
})

type Check = MatrixCheck | PlainCheck
type Copy = Uint16Array | Int8Array | Float32Array

describe('the load canary', () => {
  const device = useDevice()
  const caught = new Set<string>()

  async function checksOf(dtype: WeightDtype): Promise<Check[]> {
    const checkpoint = await openSafetensors(bufferSource('file', clipFile()))
    const { weights } = planVit(checkpoint)
    const options = { device: device(), dtype }
    return (await loadWeights<VitWeights<DeviceLeaves>>(checkpoint, weights, options)).checks
  }

  /** The tensor with its values changed, as a new one. */
  async function altered(tensor: Tensor, change: (values: Copy) => void): Promise<Tensor> {
    const values = (await tensor.read()) as Copy
    change(values)
    return device().tensor(values as TensorArray, tensor.shape)
  }

  const transpose = (values: Copy, rows: number, columns: number): void => {
    const before = values.slice()
    before.forEach((value, i) => (values[(i % columns) * rows + Math.floor(i / columns)] = value))
  }
  const words = (values: Copy): Uint8Array => new Uint8Array(values.buffer)
  const exchangeBytes = (values: Copy, width: number): void => {
    const bytes = words(values)
    for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse()
  }

  /** Changes of one layer's values; `k` is its inner size. */
  const changes: Record<WeightDtype, Record<string, (values: Copy, k: number) => void>> = {
    f32: {
      'is transposed': (values, k) => transpose(values, values.length / k, k),
      'has a row of zeros': (values, k) => void values.fill(0, 3 * k, 4 * k),
      'has one NaN': (values) => void (values[777] = NaN),
      'has one sign changed': (values) => void (values[1234] = -values[1234]!),
      'was cut short': (values) => void values.fill(0, (3 * values.length) / 4),
      'lies one element further': (values) => values.copyWithin(1, 0),
      'has key and query exchanged': (values) => {
        const part = values.slice(0, 64 * 64)
        values.copyWithin(0, 64 * 64, 2 * 64 * 64)
        values.set(part as never, 64 * 64)
      },
      'has its last row from the row before': (values, k) =>
        values.copyWithin(values.length - k, values.length - 2 * k, values.length - k),
    },
    f16: {
      'has the bytes of its halves exchanged': (values) => exchangeBytes(values, 2),
      'has two halves of each word exchanged': (values) => {
        for (let i = 0; i < values.length; i += 2) {
          const first = values[i]!
          values[i] = values[i + 1]!
          values[i + 1] = first
        }
      },
      'is of half its size': (values) => values.forEach((bits, i) => (values[i] = bits - 0x400)),
      'has bits of bf16': (values) =>
        values.set(
          new Uint16Array(halvesToFloats(values as Uint16Array).buffer).filter(
            (_, i) => i % 2 === 1,
          ) as never,
        ),
      'lies a row further': (values, k) => values.copyWithin(k, 0),
    },
    int8: {
      'has the bytes of each word in another order': (values) => exchangeBytes(values, 4),
      'is taken for unsigned with a middle of 128': (values) =>
        words(values).forEach((byte, i, all) => (all[i] = byte ^ 0x80)),
      'has lost its signs': (values) => values.forEach((value, i) => (values[i] = Math.abs(value))),
      'has four bits alone': (values) => values.forEach((value, i) => (values[i] = value & 0xf0)),
    },
  }

  it.each(['f32', 'f16', 'int8'] as const)(
    'finds sound weights of %s sound, and each that is not',
    async (dtype) => {
      const checks = await checksOf(dtype)
      await checkWeights(device(), checks)
      const matrices = checks.filter((check) => check.kind === 'matrix')
      const plains = checks.filter((check) => check.kind === 'plain')
      const qkv = matrices.filter(({ label }) => label.includes('q_proj'))
      const [first, second] = qkv as [MatrixCheck, MatrixCheck]
      expect(matrices).toHaveLength(2 * 4 + 1)
      const wrong = async (what: string, check: Check): Promise<void> => {
        const found = await checkWeights(device(), [check]).catch((error: unknown) => error)
        expect(found, what).toMatchObject({ code: 'internal' })
        caught.add(what)
        expect(String(found), what).toContain(`are wrong: ${check.label}: `)
      }
      const values = (check: MatrixCheck): Tensor =>
        check.weight instanceof Tensor ? check.weight : check.weight.values
      const kept = (check: MatrixCheck, tensor: Tensor, scales?: Tensor): MatrixCheck => {
        if (check.weight instanceof Tensor) return { ...check, weight: tensor as Tensor<'f32'> }
        const weight = { values: tensor, scales: scales ?? check.weight.scales } as QuantizedWeight
        return { ...check, weight }
      }

      await wrong('another layer’s weight', kept(first, values(second)))
      await wrong('another layer’s bias', { ...first, bias: second.bias })
      const zeros = device().tensor(new Float32Array(first.bias!.size), first.bias!.shape)
      await wrong('no bias', { ...first, bias: zeros })
      for (const [what, change] of Object.entries(changes[dtype])) {
        const check = what.includes('key')
          ? first
          : matrices.find(({ label }) => label.includes('fc2'))!
        const tensor = values(check)
        const k = tensor.shape[1]!
        await wrong(what, kept(check, await altered(tensor, (all) => change(all, k))))
      }
      if (dtype === 'int8') {
        const { values: bytes, scales } = first.weight as QuantizedWeight
        const change = async (what: string, by: (all: Copy) => void): Promise<void> =>
          wrong(what, kept(first, bytes, await altered(scales, by)))
        await wrong(
          'another layer’s scales',
          kept(first, bytes, (second.weight as QuantizedWeight).scales),
        )
        await change('scales of one', (all) => void all.fill(1))
        await change('scales a row further', (all) => all.copyWithin(1, 0))
      }

      // All else is compared by its bits.
      const norms = plains.filter(({ label }) => label.includes('layer_norm'))
      await wrong('another norm', { ...norms[0]!, tensor: norms[1]!.tensor })
      const flipped = await altered(norms[0]!.tensor, (all) => void (words(all)[9]! ^= 1))
      await wrong('one bit', { ...norms[0]!, tensor: flipped as Tensor<'f32'> })
      const patch = plains.find(({ label }) => label.includes('patch'))!
      const moved = await altered(patch.tensor, (all) => all.copyWithin(1, 0))
      await wrong('patches one element further', { ...patch, tensor: moved as Tensor<'f32'> })
    },
  )

  it('has found more than twenty kinds of faults', () => {
    expect(caught.size).toBeGreaterThanOrEqual(20)
  })
})
