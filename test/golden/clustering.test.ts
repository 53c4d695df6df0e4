import { expect, it } from 'vitest'
import { kmeans } from '../../src/train/kmeans.ts'
import { calinskiHarabasz, silhouettes } from '../../src/train/silhouette.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { describeGolden, readGoldenTensors } from '../support/golden.ts'

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
})
