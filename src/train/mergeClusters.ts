import { clusterLengths, type CodingModel, type Moments } from './codingLength.ts'

/** Partitions of a partition's clusters: element k − 1 names, for each of them, its cluster among k. */
export type MergePath = readonly Int32Array[]

interface Node {
  readonly size: number
  /** [width, width], of which the leading part counts. */
  readonly products: Float64Array
  readonly length: number
  /** Which of the first clusters it holds. */
  readonly members: readonly number[]
}

/**
 * Joins clusters two by two, each time those whose joint code is shortest beside their own (Ma et al.
 * 2007, pairwise steepest descent), until one is left. Unlike k-means it knows no centres, so it finds
 * clusters that are subspaces, or long, from many small parts of them.
 *
 * @param clusters one or more
 * @param directions in how many leading directions clusters have codes of their own
 */
export function mergeClusters(
  clusters: readonly Moments[],
  model: CodingModel,
  directions: number,
): MergePath {
  const length = (size: number, products: ArrayLike<number>): number =>
    clusterLengths(size, products, model, directions)[directions - 1]!
  const width = model.shared.length
  const join = (a: Node, b: Node): Node => {
    const size = a.size + b.size
    const products = new Float64Array(a.products.length)
    for (let i = 0; i < directions; i++) {
      for (let j = 0; j <= i; j++) {
        const at = i * width + j
        products[at] = a.products[at]! + b.products[at]!
      }
    }
    const members = [...a.members, ...b.members]
    return { size, products, length: length(size, products), members }
  }
  let nodes = clusters.map(({ size, products }, i): Node => {
    return {
      size,
      products: Float64Array.from(products),
      length: length(size, products),
      members: [i],
    }
  })
  /** What joining two would add to the length; kept for as long as both are there. */
  const gains = new Map<Node, Map<Node, number>>()
  const gainsOf = (a: Node, others: readonly Node[]): Map<Node, number> =>
    new Map(others.map((b) => [b, join(a, b).length - a.length - b.length]))
  nodes.forEach((node, i) => gains.set(node, gainsOf(node, nodes.slice(0, i))))

  const path = new Array<Int32Array>(nodes.length)
  for (;;) {
    path[nodes.length - 1] = membership(nodes, clusters.length)
    if (nodes.length === 1) return path
    const [a, b] = cheapest(nodes, gains)
    nodes = nodes.filter((node) => node !== a && node !== b)
    for (const gone of [a, b]) {
      gains.delete(gone)
      for (const others of gains.values()) others.delete(gone)
    }
    const joint = join(a, b)
    gains.set(joint, gainsOf(joint, nodes))
    nodes.push(joint)
  }
}

function cheapest(
  nodes: readonly Node[],
  gains: ReadonlyMap<Node, ReadonlyMap<Node, number>>,
): [Node, Node] {
  let best: [Node, Node] = [nodes[1]!, nodes[0]!]
  let least = Infinity
  for (const a of nodes) {
    for (const [b, gain] of gains.get(a)!) {
      if (gain < least) [least, best] = [gain, [a, b]]
    }
  }
  return best
}

function membership(nodes: readonly Node[], count: number): Int32Array {
  const names = new Int32Array(count)
  nodes.forEach(({ members }, cluster) => members.forEach((member) => (names[member] = cluster)))
  return names
}
