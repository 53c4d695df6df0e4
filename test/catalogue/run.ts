import { backward, multiply, scope, sum, type Device, type Tensor } from '../../src/index.ts'
import type { TensorArray } from '../../src/runtime/dtype.ts'
import { randomArray } from '../support/random.ts'
import { sha256 } from '../support/sha256.ts'
import type { OpCase, Tensors } from './case.ts'
import { catalogue, titleOf } from './index.ts'

/** An op's output and, of Σ output · cotangent, the gradients of its leaves. */
export interface Enqueued {
  readonly out: Tensor
  readonly gradients: Readonly<Record<string, Tensor<'f32'>>>
}

export interface Results {
  readonly out: TensorArray
  readonly gradients: Readonly<Record<string, Float32Array>>
}

/** What the gradients are taken of: the weight of each element of the output. */
export const cotangent = (size: number): Float32Array<ArrayBuffer> => randomArray(size, 9)

/** Uploads a case's inputs; with a tape unless `tape` is false. */
export function upload(device: Device, { inputs, leaves }: OpCase, tape = true): Tensors {
  const tensors = Object.entries(inputs).map(([name, { data, shape }]) => {
    const tensor = device.tensor(data, shape) as Tensor<'f32'>
    tensor.requiresGrad = tape && leaves.includes(name)
    return [name, tensor] as const
  })
  return Object.fromEntries(tensors)
}

/** Enqueues (or records) the op and its backward pass; the caller disposes what is returned. */
export function enqueue(device: Device, { run, leaves }: OpCase, inputs: Tensors): Enqueued {
  return scope(() => {
    const out = run(inputs)
    if (leaves.length === 0) return { out, gradients: {} }
    const weight = device.tensor(cotangent(out.size), out.shape)
    const loss = sum(multiply(out as Tensor<'f32'>, weight))
    const gradients = backward(
      loss,
      leaves.map((name) => inputs[name]!),
    )
    return { out, gradients: Object.fromEntries(leaves.map((name, i) => [name, gradients[i]!])) }
  })
}

export async function readAll({ out, gradients }: Enqueued): Promise<Results> {
  const entries = Object.entries(gradients)
  const values = await Promise.all(
    entries.map(async ([name, t]) => [name, await t.read()] as const),
  )
  return { out: await out.read(), gradients: Object.fromEntries(values) }
}

/** Runs a case once, eagerly, and gives all its memory back. */
export async function runCase(device: Device, opCase: OpCase): Promise<Results> {
  const inputs = upload(device, opCase)
  const enqueued = enqueue(device, opCase, inputs)
  const results = await readAll(enqueued)
  for (const tensor of [enqueued.out, ...Object.values(enqueued.gradients)]) tensor.dispose()
  for (const tensor of Object.values(inputs)) tensor.dispose()
  return results
}

/** SHA-256 of the bits of an output and its gradients. */
export const hashOf = ({ out, gradients }: Results): Promise<string> =>
  sha256([out, ...Object.values(gradients)])

/** The hash of every case, by its title. */
export async function hashCatalogue(device: Device): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {}
  for (const opCase of catalogue)
    hashes[titleOf(opCase)] = await hashOf(await runCase(device, opCase))
  return hashes
}
