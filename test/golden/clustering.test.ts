import { expect, it } from 'vitest'
import { tsneGradient, tsneProbabilities } from '../../src/runtime/ops/tsne.ts'
import { kmeans } from '../../src/train/kmeans.ts'
import { calinskiHarabasz, silhouettes } from '../../src/train/silhouette.ts'
import { jointProbabilities } from '../../src/train/tsneGraph.ts'
import { smallest, squaredDistances } from '../reference/distance.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { describeGolden, readGoldenTensors } from '../support/golden.ts'
import { sparse } from '../support/tsneGraph.ts'

describeGolden('clustering', () => {
  const device = useDevice()

  it("follows scikit-learn's Lloyd iterations from given centres", async () => {
    const file = await readGoldenTensors('clustering.safetensors')
    const [count, dimension] = file.tensors.get('x')!.shape as [number, number]
    const initial = file.float32('init')
    const k = initial.length / dimension
    const options = { device: device(), count, dimension, k, initial }
    const { assignments, centres, inertia } = await kmeans(file.float32('x'), options)
    expect([...assignments]).toEqual([...file.int32('assignment')])
    expectClose('centres', centres, file.float32('centres'), 1e-6)
    expectClose('inertia', [inertia * count], [Number(file.metadata.get('inertia'))], 1e-6)
  })

  it("has scikit-learn's silhouette and Calinski-Harabasz index", async () => {
    const file = await readGoldenTensors('clustering.safetensors')
    const [count, dimension] = file.tensors.get('x')!.shape as [number, number]
    const x = file.float32('x')
    const partition = file.int32('assignment')
    const [silhouette] = await silhouettes(x, [partition], { device: device(), count, dimension })
    expect(silhouette).toBeCloseTo(Number(file.metadata.get('silhouette_euclidean')), 6)
    const index = calinskiHarabasz(x, dimension, partition)
    expectClose('index', [index], [Number(file.metadata.get('calinski_harabasz'))], 1e-6)
  })

  it("follows scikit-learn's t-SNE: joint probabilities, gradient and divergence", async () => {
    const file = await readGoldenTensors('clustering.safetensors')
    const expected = file.float32('tsne_p')
    const count = file.tensors.get('tsne_y')!.shape[0]!
    const { shape } = file.tensors.get('x')!
    const dimension = shape[1]!
    const x = file.float32('x').slice(0, count * dimension)
    // Its exact method takes all other rows for neighbours, more than a search gives.
    const k = count - 1
    const all = squaredDistances(x, x, dimension)
    const nearest = smallest(all, count, k, (row) => row)
    const squared = nearest.flatMap((line, row) => line.map((j) => all[row * count + j]!))
    const perplexity = Number(file.metadata.get('perplexity'))
    const conditional = tsneProbabilities(device().tensor(Float32Array.from(squared), [count, k]), {
      perplexity,
    })
    const joint = jointProbabilities(
      { nearest: Uint32Array.from(nearest.flat()), k },
      await conditional.read(),
    )
    const dense = new Float32Array(count * count)
    for (let row = 0; row < count; row++) {
      for (let e = joint.starts[row]!; e < joint.starts[row + 1]!; e++) {
        dense[row * count + joint.columns[e]!] = joint.weights[e]!
      }
    }
    expectClose('joint probabilities', dense, expected, 2e-5)
    const layout = device().tensor(file.float32('tsne_y'), [count, 2])
    const result = tsneGradient(layout, sparse(device(), dense, count))
    expectClose('gradient', await result.gradient.read(), file.float32('tsne_grad'), 2e-5)
    const [total = NaN] = await result.total.read()
    const kl = (await result.divergence.read()).reduce((a, b) => a + b, Math.log(total))
    expectClose('divergence', [kl], [Number(file.metadata.get('kl'))], 1e-5)
  })
})
