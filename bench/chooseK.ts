/**
 * Whether the number of clusters that is chosen is the true one, within a fifth: on made features, and
 * on CIFAR-10's where their file is given. Ends with 1 where it isn't.
 *
 *     npm run eval:k -- [--features FILE] [--images 10000,3000] [--seed 0] [--adapter NAME]
 */
import { chooseK, createDevice } from '../src/index.node.ts'
import { blobs, stretched, subspaces } from '../test/support/clusterSets.ts'
import { readFeatures } from './cifar/dataset.ts'
import { readOptions, wholeNumber } from './options.ts'

const options = readOptions('Chooses K on features whose number of clusters is known.', {
  features: { value: 'FILE', help: 'CIFAR-10 features, as for eval:cifar' },
  images: { value: 'N,…', default: '10000', help: 'how many of them, from the first on' },
  seed: { value: 'N', default: '0', help: 'of k-means' },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of a GPU’s name' },
})

/** Known before the trial: round, long and unequal, overlapping, and subspaces. */
const made = {
  'round, K 5': () => blobs({ seed: 1, k: 5, count: 2000, dimension: 64 }, 0.4),
  'long and unequal, K 12': () => stretched({ seed: 2, k: 12, count: 3000, dimension: 48 }, 0.45),
  'overlapping, K 20': () => blobs({ seed: 3, k: 20, count: 4000, dimension: 64 }, 0.75),
  'subspaces, K 20': () => subspaces({ seed: 4, k: 20, count: 4000, dimension: 64 }, 4, 0.05),
}

if (options) await main(options)

async function main({
  features,
  images = '',
  seed = '',
  adapter,
}: NonNullable<typeof options>): Promise<void> {
  const device = await createDevice({ adapter })
  let right = true
  const trial = async (
    name: string,
    rows: { count: number; dimension: number; data: Float32Array },
    k: number,
  ): Promise<void> => {
    const start = performance.now()
    const result = await chooseK(rows, { device, seed: wholeNumber('seed', seed, 0) })
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    const near = Math.abs(result.k - k) <= k / 5
    if (!near) right = false
    const { candidates, partitions, directions } = result
    console.log(
      `${near ? 'ok ' : 'off'}  ${name}: ${result.k} of ${k}  (about as short: ` +
        `${candidates.join(', ')}; ${partitions}, ${directions} directions, ${seconds} s)`,
    )
    for (const score of result.curve) {
      const { codingLength, codingLengthDeviation, stability, silhouette } = score
      console.log(
        `       ${String(score.k).padStart(3)}  ${codingLength.toFixed(0)} ± ` +
          `${codingLengthDeviation.toFixed(0)}  stability ${stability.toFixed(2)}  silhouette ` +
          `${silhouette.toFixed(3)}  CH ${score.calinskiHarabasz.toFixed(0)}`,
      )
    }
  }
  try {
    for (const [name, make] of Object.entries(made)) {
      const set = make()
      await trial(name, set, set.k)
    }
    if (features === undefined) return
    const { clean, dimension } = (await readFeatures(features)).train
    for (const text of images.split(',')) {
      const count = wholeNumber('images', text, 4)
      const data = clean.slice(0, count * dimension)
      await trial(`CIFAR-10, ${count} images`, { count, dimension, data }, 10)
    }
  } finally {
    device.close()
    process.exitCode = right ? 0 : 1
  }
}
