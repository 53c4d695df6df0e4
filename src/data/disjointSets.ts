/** Union-find over 0 … count − 1, with paths halved and the smaller number as the root of a set. */
export class DisjointSets {
  private readonly parents: Uint32Array

  constructor(count: number) {
    this.parents = Uint32Array.from({ length: count }, (_, i) => i)
  }

  /** The smallest member of the set. */
  find(member: number): number {
    const { parents } = this
    while (parents[member] !== member) {
      parents[member] = parents[parents[member]]
      member = parents[member]
    }
    return member
  }

  union(a: number, b: number): void {
    const [first, second] = [this.find(a), this.find(b)]
    this.parents[Math.max(first, second)] = Math.min(first, second)
  }

  /** Members of each set of two or more, ascending; sets by their smallest member. */
  groups(): number[][] {
    const byRoot = new Map<number, number[]>()
    for (let i = 0; i < this.parents.length; i++) {
      const root = this.find(i)
      const group = byRoot.get(root)
      if (group) group.push(i)
      else byRoot.set(root, [i])
    }
    return [...byRoot.values()].filter((group) => group.length > 1)
  }
}
