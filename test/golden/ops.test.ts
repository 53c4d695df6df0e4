import { beforeAll, expect, it } from 'vitest'
import type { Activation } from '../../src/kernels/activations.ts'
import type { SafetensorsFile } from '../../src/model/safetensors.ts'
import type { Device } from '../../src/runtime/device.ts'
import { attention } from '../../src/runtime/ops/attention.ts'
import { batchNormEval, batchNormTrain } from '../../src/runtime/ops/batchNorm.ts'
import { multiply } from '../../src/runtime/ops/binary.ts'
import { l2Normalize } from '../../src/runtime/ops/l2Normalize.ts'
import { layerNorm } from '../../src/runtime/ops/layerNorm.ts'
import { linear, matmul } from '../../src/runtime/ops/matmul.ts'
import { patchEmbed } from '../../src/runtime/ops/patchEmbed.ts'
import { sum } from '../../src/runtime/ops/reduce.ts'
import { scpLoss } from '../../src/runtime/ops/scpLoss.ts'
import { logSoftmax, softmax } from '../../src/runtime/ops/softmax.ts'
import { exp, gelu, quickGelu, relu, sigmoid, silu, tanh } from '../../src/runtime/ops/unary.ts'
import { Parameters } from '../../src/runtime/parameters.ts'
import { backward } from '../../src/runtime/tape.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { adam, adamW } from '../../src/train/adam.ts'
import { parameterGroups } from '../../src/train/parameterGroups.ts'
import { adamTable, sgdTable, type AdamOptions } from '../../src/train/schedule.ts'
import { sgd } from '../../src/train/sgd.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import {
  describeGolden,
  goldensPresent,
  readGoldenJson,
  readGoldenTensors,
} from '../support/golden.ts'

const FORWARD = 1e-5
const GRADIENT = 1e-5

type F32 = Tensor<'f32'>
type Names = Readonly<Record<string, string>>

interface Case {
  readonly id: string
  readonly op: string
  readonly attrs: Readonly<Record<string, unknown>>
  readonly inputs: Names
  readonly outputs: Names
  readonly cotangents: Names
  readonly grads: Names
  readonly grads_in: readonly string[]
  readonly weights_out: readonly string[]
}

/** Outputs and gradients by their names in the golden file. */
interface Results {
  readonly outputs: Readonly<Record<string, F32>>
  readonly gradients: Readonly<Record<string, F32>>
}

type Runner = (device: Device, golden: Case, file: SafetensorsFile) => Results

const load = (device: Device, file: SafetensorsFile, name: string): F32 =>
  device.tensor(file.float32(name), file.tensors.get(name)!.shape)

/** Runs an op with one output `out` and asks for every gradient in the file. */
const single =
  (op: (inputs: Record<string, F32>, attrs: Case['attrs']) => F32): Runner =>
  (device, { inputs, attrs, cotangents, grads }, file) => {
    const tensors = Object.fromEntries(
      Object.entries(inputs).map(([name, key]) => [name, load(device, file, key)]),
    )
    const leaves = Object.keys(grads).map((name) => tensors[name]!)
    for (const leaf of leaves) leaf.requiresGrad = true
    const out = op(tensors, attrs)
    const loss = sum(multiply(out, load(device, file, cotangents.out!)))
    const gradients = backward(loss, leaves)
    return {
      outputs: { out },
      gradients: Object.fromEntries(Object.keys(grads).map((name, i) => [name, gradients[i]!])),
    }
  }

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  none: 'none',
  relu: 'relu',
  gelu: 'gelu',
  quick_gelu: 'quickGelu',
}

/** Running mean and variance in one tensor, as our batch norm keeps them. */
function stack(device: Device, file: SafetensorsFile, names: readonly string[]): F32 {
  const rows = names.map((name) => file.float32(name))
  return device.tensor(Float32Array.from(rows.flatMap((row) => [...row])), [
    rows.length,
    rows[0]!.length,
  ])
}

/** The golden's gradients are those of `out` alone, as PyTorch's running statistics carry none. */
const batchNormRunner: Runner = (device, golden, file) => {
  const { inputs, attrs, op } = golden
  const running = stack(device, file, [inputs.running_mean!, inputs.running_var!])
  const norm = op === 'batch_norm_train' ? batchNormTrain : batchNormEval
  const results = single(({ x, weight, bias }) => norm(x!, weight!, bias!, running, attrs))(
    device,
    golden,
    file,
  )
  if (op === 'batch_norm_eval') return results
  return { ...results, outputs: { ...results.outputs, running } }
}

/** The file weights the three terms by c1 + c4, c2 + c4 and c3 + α·c4, where c4 is the total's. */
const scpLossRunner: Runner = (device, { inputs, attrs, cotangents }, file) => {
  const alpha = attrs.alpha as number
  const a = file.float32(inputs.a!)
  const logits = device.tensor(Float32Array.from([...a, ...file.float32(inputs.b_!)]), [
    2 * file.tensors.get(inputs.a!)!.shape[0]!,
    file.tensors.get(inputs.a!)!.shape[1]!,
  ])
  logits.requiresGrad = true
  const cotangent = (name: string): number => file.float32(cotangents[name]!)[0]!
  const { terms } = scpLoss(logits, { crossEntropy: 1, confidence: 1, entropy: alpha })
  const { total } = scpLoss(logits, {
    crossEntropy: cotangent('cross_entropy') + cotangent('total'),
    confidence: cotangent('confidence') + cotangent('total'),
    entropy: cotangent('negative_entropy') + alpha * cotangent('total'),
  })
  const [dLogits] = backward(total, [logits])
  return { outputs: { terms }, gradients: { logits: dLogits! } }
}

const RUNNERS: Readonly<Record<string, Runner>> = {
  linear: single(({ x, weight, bias }, attrs) =>
    linear(x!, weight!, bias, { activation: ACTIVATIONS[attrs.activation as string]! }),
  ),
  matmul: single(({ a, b }, attrs) =>
    matmul(a!, b!, { transposeA: attrs.transpose_a === 1, transposeB: attrs.transpose_b === 1 }),
  ),
  softmax: single(({ x }) => softmax(x!)),
  log_softmax: single(({ x }) => logSoftmax(x!)),
  layer_norm: single(({ x, weight, bias }, attrs) => layerNorm(x!, weight!, bias!, attrs)),
  batch_norm_train: batchNormRunner,
  batch_norm_eval: batchNormRunner,
  attention: single(({ q, k, v }, attrs) => attention(q!, k!, v!, attrs)),
  gelu: single(({ x }) => gelu(x!)),
  quick_gelu: single(({ x }) => quickGelu(x!)),
  relu: single(({ x }) => relu(x!)),
  silu: single(({ x }) => silu(x!)),
  tanh: single(({ x }) => tanh(x!)),
  sigmoid: single(({ x }) => sigmoid(x!)),
  exp: single(({ x }) => exp(x!)),
  l2_normalize: single(({ x }, attrs) => l2Normalize(x!, attrs)),
  patch_embed: single(({ x, weight, bias }) => patchEmbed(x!, weight!, bias)),
  scp_loss: scpLossRunner,
}

const OPTIMISERS = ['adam', 'adamw', 'sgd_momentum']

/** What a result is compared with: tensors of the file in the order that ours holds them. */
const JOINED: Readonly<Record<string, readonly string[]>> = {
  running: ['new_running_mean', 'new_running_var'],
  terms: ['total', 'cross_entropy', 'confidence', 'negative_entropy'],
  logits: ['a', 'b_'],
}

function expected(file: SafetensorsFile, keys: Names, name: string): number[] {
  return (JOINED[name] ?? [name]).flatMap((part) => [...file.float32(keys[part]!)])
}

/** Every name of the file that the results answer for. */
const answered = (results: Readonly<Record<string, F32>>): string[] =>
  Object.keys(results).flatMap((name) => JOINED[name] ?? [name])

describeGolden('ops', () => {
  const device = useDevice()
  let cases: Case[] = []
  let file: SafetensorsFile

  beforeAll(async () => {
    if (!goldensPresent()) return
    cases = await readGoldenJson<Case[]>('ops.json')
    file = await readGoldenTensors('ops.safetensors')
  })

  it('are all there', () => {
    const names = new Set(cases.map(({ op }) => op))
    expect([...names].sort()).toEqual([...Object.keys(RUNNERS), ...OPTIMISERS].sort())
  })

  it.each(Object.keys(RUNNERS))('%s', async (op) => {
    const chosen = cases.filter((golden) => golden.op === op)
    expect(chosen.length).toBeGreaterThan(0)
    for (const golden of chosen) {
      const { outputs, gradients } = scope(() => RUNNERS[op]!(device(), golden, file))
      expect(answered(outputs).sort()).toEqual(Object.keys(golden.outputs).sort())
      expect(answered(gradients).sort()).toEqual(Object.keys(golden.grads).sort())
      for (const [name, tensor] of Object.entries(outputs)) {
        const values = expected(file, golden.outputs, name)
        expectClose(`${golden.id}: ${name}`, await tensor.read(), values, FORWARD)
        tensor.dispose()
      }
      for (const [name, tensor] of Object.entries(gradients)) {
        const values = expected(file, golden.grads, name)
        expectClose(`${golden.id}: d${name}`, await tensor.read(), values, GRADIENT)
        tensor.dispose()
      }
    }
  })

  /** Runs an optimiser on the file's gradients and compares the weights after every step. */
  async function optimise(op: string, start: (golden: Case) => Optimiser): Promise<void> {
    const golden = cases.find((one) => one.op === op)!
    const { id, attrs, grads_in, weights_out } = golden
    const initial = file.float32(`${id}/w0`)
    const parameters = new Parameters(device(), new Map([['w', [initial.length]]]))
    const weight = parameters.get('w')
    weight.write(initial)
    const rates = new Array<number>(grads_in.length).fill(attrs.lr as number)
    const step = start(golden)(parameters, rates)
    for (const [i, name] of grads_in.entries()) {
      weight.gradient!.write(file.float32(name))
      step(device().tensor(Uint32Array.of(i), [1]))
      const values = await weight.read()
      expectClose(`${op}: ${weights_out[i]}`, values, file.float32(weights_out[i]!), FORWARD)
    }
  }

  const zeros = ({ values: { size } }: Parameters): F32 =>
    device().tensor(new Float32Array(size), [size])

  const adamOptions = ({ attrs }: Case): AdamOptions => {
    const [beta1, beta2] = attrs.betas as [number, number]
    return { beta1, beta2, eps: attrs.eps as number }
  }

  it('adam', () =>
    optimise('adam', (golden) => (parameters, rates) => {
      const options = adamOptions(golden)
      const state = { moments: zeros(parameters), squares: zeros(parameters) }
      const table = device().tensor(adamTable(rates, options), [rates.length, 4])
      return (step) => adam(parameters, state, table, step, options)
    }))

  it('adamw', () =>
    optimise('adamw', (golden) => (parameters, rates) => {
      const options = adamOptions(golden)
      const decay = golden.attrs.weight_decay as number
      const groups = parameterGroups(parameters, () => ({ decay }))
      const state = { moments: zeros(parameters), squares: zeros(parameters) }
      const table = device().tensor(adamTable(rates, options), [rates.length, 4])
      return (step) => adamW(parameters, state, table, step, groups, options)
    }))

  it('sgd_momentum', () =>
    optimise('sgd_momentum', ({ attrs }) => (parameters, rates) => {
      const velocity = zeros(parameters)
      const table = device().tensor(sgdTable(rates), [rates.length, 4])
      const momentum = attrs.momentum as number
      return (step) => sgd(parameters, velocity, table, step, { momentum })
    }))
})

/** Prepares an optimiser's state; the result does one step. */
type Optimiser = (parameters: Parameters, rates: readonly number[]) => (step: Tensor<'u32'>) => void
