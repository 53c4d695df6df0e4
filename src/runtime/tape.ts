import { addKernel, fillKernel, scaleKernel } from '../kernels/elementwise.ts'
import { KeeplightError } from './errors.ts'
import { inOp } from './outOfMemory.ts'
import { expect, sameShape } from './shape.ts'
import { hold, tensorsIn, type Tensor } from './tensor.ts'

/** Tensors that an op takes, by name; optional ones may be absent. */
export type Inputs = Readonly<Record<string, Tensor | undefined>>

/** What a gradient rule sees. */
export interface BackwardContext<I extends Inputs, A, S> {
  readonly attributes: A
  /** What the forward saved. */
  readonly saved: S
  /** Gradient of the loss with respect to the op's output. */
  readonly gradient: Tensor<'f32'>
  /** True when `gradient` is the scalar 1 that starts the walk; reading it costs a dispatch. */
  readonly isSeed: boolean
  wants(input: keyof I): boolean
  /** An uninitialised tensor of the input's shape for its gradient, in its final place if it has one. */
  output(input: keyof I): Tensor<'f32'>
}

/**
 * An op and its gradient rule. The rule returns one gradient for every input, so leaving one out
 * fails to compile; `null` says that there is none.
 */
export interface Op<I extends Inputs, A, S> {
  readonly name: string
  /** Tensors in `saved` that are no input, attribute or output are the tape's to dispose. */
  forward(inputs: I, attributes: A): { readonly out: Tensor<'f32'>; readonly saved: S }
  backward(context: BackwardContext<I, A, S>): { readonly [K in keyof I]-?: Tensor<'f32'> | null }
}

/** Where a gradient flows: into the node that made a tensor, or to a trainable leaf. */
type Source = TapeNode | Tensor

interface NodeInput {
  readonly source: Source | undefined
  readonly tensor: Tensor
}

type RunRule = (
  gradient: Tensor<'f32'> | undefined,
  output: (input: NodeInput) => Tensor<'f32'>,
) => Map<NodeInput, Tensor<'f32'>>

/** One op on the tape. Held by its output tensor and by the nodes that consumed that. */
export class TapeNode {
  readonly name: string
  readonly inputs: readonly NodeInput[]
  readonly run: RunRule
  readonly #saved: readonly Tensor[]
  #references = 1
  spent = false

  constructor(name: string, inputs: readonly NodeInput[], saved: readonly Tensor[], run: RunRule) {
    this.name = name
    this.inputs = inputs
    this.#saved = saved
    this.run = run
    for (const { source } of inputs) if (source instanceof TapeNode) source.retain()
  }

  retain(): void {
    this.#references++
  }

  release(): void {
    if (--this.#references > 0) return
    this.spend()
    for (const { source } of this.inputs) if (source instanceof TapeNode) source.release()
  }

  /** Frees what the rule saved; the node can't be walked again. */
  spend(): void {
    if (this.spent) return
    this.spent = true
    this.#saved.forEach((tensor) => tensor.dispose())
  }
}

let recording = true

/** Runs `body` with the tape off: nothing is saved for a backward pass. */
export function withoutTape<R>(body: () => R): R {
  const before = recording
  recording = false
  try {
    return body()
  } finally {
    recording = before
  }
}

const sourceOf = (tensor: Tensor): Source | undefined =>
  tensor.node ?? (tensor.requiresGrad ? tensor : undefined)

/** True when a gradient may be asked of something computed from these tensors. */
export const needsGradient = (...tensors: (Tensor | undefined)[]): boolean =>
  recording && tensors.some((tensor) => tensor !== undefined && sourceOf(tensor) !== undefined)

/** Runs an op; records it when an input needs a gradient. */
export function apply<I extends Inputs, A, S>(
  op: Op<I, A, S>,
  inputs: I,
  attributes: A,
): Tensor<'f32'> {
  for (const tensor of Object.values(inputs)) tensor?.assertAlive(op.name)
  const { out, saved } = inOp(op.name, () => op.forward(inputs, attributes))
  const present = Object.values(inputs).filter((tensor) => tensor !== undefined)
  const taped = needsGradient(...present)
  const held = new Map<Tensor, Tensor>()
  if (taped) tensorsIn(saved).forEach((tensor) => held.set(tensor, hold(tensor)))
  // What the forward made only for its rule (statistics, say) now belongs to the tape alone.
  const others = tensorsIn([out, present, attributes])
  for (const tensor of tensorsIn(saved)) if (!others.has(tensor)) tensor.dispose()
  if (!taped) return out

  const nodeInputs = new Map<string, NodeInput>()
  for (const [name, tensor] of Object.entries(inputs)) {
    if (tensor) nodeInputs.set(name, { source: sourceOf(tensor), tensor })
  }
  const wants = (name: keyof I): boolean => nodeInputs.get(name as string)?.source !== undefined
  const shape = out.shape
  out.node = new TapeNode(
    op.name,
    [...nodeInputs.values()],
    [...held.values()],
    (gradient, output) => {
      let seed: Tensor<'f32'> | undefined
      const gradients = op.backward({
        attributes,
        saved: replaceTensors(saved, held),
        get gradient() {
          return gradient ?? (seed ??= ones(out.device.empty(shape, 'f32')))
        },
        isSeed: gradient === undefined,
        wants,
        output: (name) => {
          const input = nodeInputs.get(name as string)
          if (!input) throw new KeeplightError('internal', `${op.name}: no input ${String(name)}`)
          return output(input)
        },
      })
      const flows = new Map<NodeInput, Tensor<'f32'>>()
      for (const [name, input] of nodeInputs) {
        const flow = gradients[name]
        if (input.source === undefined) flow?.dispose()
        else if (flow) flows.set(input, flow)
        else throw new KeeplightError('usage', `${op.name}: ${name} has no gradient`)
      }
      seed?.dispose()
      return flows
    },
  )
  return out
}

function ones(tensor: Tensor<'f32'>): Tensor<'f32'> {
  tensor.device.dispatch(fillKernel, { out: tensor }, { size: tensor.size, value: 1 })
  return tensor
}

/** Copies arrays and plain objects with every tensor replaced by the one the tape holds. */
function replaceTensors<S>(value: S, held: ReadonlyMap<Tensor, Tensor>): S {
  const replace = (item: unknown): unknown => {
    const tensor = held.get(item as Tensor)
    if (tensor) return tensor
    if (Array.isArray(item)) return item.map(replace)
    if (
      typeof item === 'object' &&
      item !== null &&
      Object.getPrototypeOf(item) === Object.prototype
    ) {
      return Object.fromEntries(Object.entries(item).map(([key, entry]) => [key, replace(entry)]))
    }
    return item
  }
  return replace(value) as S
}

/**
 * Gradients of a scalar with respect to trainable leaves, by reverse-mode differentiation.
 *
 * The tape is spent: a second `backward` through the same nodes throws.
 *
 * @param loss one element; its gradient is taken as 1
 * @param leaves tensors with `requiresGrad`
 * @param losses how many elements the loss has: those of independent runs, whose gradients are each of
 *   their own loss. Default 1
 * @returns for each leaf its gradient, of the leaf's shape; a leaf with a `gradient` slot gets it there
 */
export function backward(
  loss: Tensor<'f32'>,
  leaves: readonly Tensor<'f32'>[],
  losses = 1,
): Tensor<'f32'>[] {
  loss.assertAlive('backward')
  expect(loss.size === losses, 'backward', () => {
    return `loss is ${loss.toString()}, expected ${losses === 1 ? 'one element' : `${losses} elements`}`
  })
  for (const leaf of leaves) {
    expect(leaf.requiresGrad, 'backward', () => `leaf ${leaf.toString()} has requiresGrad = false`)
  }
  const { device } = loss
  const order = topologicalOrder(loss.node)
  const pending = new Map<Source, number>()
  for (const { source } of order.flatMap((node) => node.inputs)) {
    if (source) pending.set(source, (pending.get(source) ?? 0) + 1)
  }
  const gradients = new Map<Source, Tensor<'f32'>>()

  const output = ({ source, tensor }: NodeInput): Tensor<'f32'> => {
    const slot = source instanceof TapeNode ? undefined : source?.gradient
    const only = source !== undefined && pending.get(source) === 1 && !gradients.has(source)
    return slot && only ? slot.view(slot.shape) : device.empty(tensor.shape, 'f32')
  }

  const add = (input: NodeInput, flow: Tensor<'f32'>): void => {
    const source = input.source as Source
    const before = gradients.get(source)
    if (before) {
      const sum = output(input)
      const size = sum.size
      device.dispatch(addKernel, { a: before, b: flow, out: sum }, { size })
      before.dispose()
      flow.dispose()
      gradients.set(source, sum)
    } else gradients.set(source, flow)
    pending.set(source, (pending.get(source) ?? 1) - 1)
  }

  for (const node of order.reverse()) {
    if (node.spent) {
      throw new KeeplightError('usage', `backward: the tape of ${node.name} was used already`)
    }
    const gradient = gradients.get(node)
    if (!gradient && node !== loss.node) continue
    const flows = inOp(`gradient of ${node.name}`, () => node.run(gradient, output))
    for (const [input, flow] of flows) {
      expect(sameShape(flow.shape, input.tensor.shape), node.name, () => {
        return `gradient ${flow.toString()} does not fit input ${input.tensor.toString()}`
      })
      add(input, flow)
    }
    gradients.delete(node)
    gradient?.dispose()
    node.spend()
  }
  const asked = new Set<Source>(leaves)
  for (const [source, gradient] of gradients) if (!asked.has(source)) gradient.dispose()
  return leaves.map((leaf) => settle(leaf, gradients.get(leaf)))
}

/** The gradient of a leaf in its slot, or as it is; zeros when the loss does not depend on it. */
function settle(leaf: Tensor<'f32'>, gradient: Tensor<'f32'> | undefined): Tensor<'f32'> {
  const { device, gradient: slot } = leaf
  if (!gradient) {
    const zeros = slot ?? device.empty(leaf.shape, 'f32')
    device.dispatch(fillKernel, { out: zeros }, { size: zeros.size, value: 0 })
    return zeros
  }
  if (!slot) return gradient
  if (gradient.allocation !== slot.allocation || gradient.offset !== slot.offset) {
    device.dispatch(scaleKernel, { x: gradient, out: slot }, { size: slot.size, scale: 1 })
  }
  gradient.dispose()
  return slot
}

/** Nodes reachable from `root`, every one after those it depends on. */
function topologicalOrder(root: TapeNode | undefined): TapeNode[] {
  const order: TapeNode[] = []
  const seen = new Set<TapeNode>()
  const stack: { node: TapeNode; next: number }[] = []
  const visit = (node: TapeNode): void => {
    if (seen.has(node)) return
    seen.add(node)
    stack.push({ node, next: 0 })
  }
  if (root) visit(root)
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const input = top.node.inputs[top.next++]
    if (!input) {
      order.push(top.node)
      stack.pop()
    } else if (input.source instanceof TapeNode) visit(input.source)
  }
  return order
}
