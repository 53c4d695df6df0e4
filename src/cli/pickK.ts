import { chooseK } from '../index.node.ts'
import type { ChooseKResult, Device, FeatureRows } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'

export interface PickSettings {
  readonly k: number | 'auto'
  readonly kRange?: readonly number[]
  readonly seed: number
}

/**
 * The number of clusters that was asked for, or the one that the features choose (`-k auto`), with what
 * it was chosen by.
 */
export async function pickK(
  features: FeatureRows,
  { k, kRange, seed }: PickSettings,
  device: Device,
  { terminal, signal }: Context,
): Promise<{ readonly k: number; readonly choice?: ChooseKResult }> {
  if (k !== 'auto') {
    if (kRange) terminal.warn('--k-range is for -k auto, and is ignored')
    return { k }
  }
  if (features.count < 4) {
    throw new KeeplightError(
      'input',
      `-k auto: found ${features.count} images, expected at least 4. Give -k a number, or add images.`,
    )
  }
  let progress: ReturnType<typeof terminal.progress> | undefined
  try {
    const choice = await chooseK(features, {
      ...{ device, seed, signal, range: kRange },
      onProgress: (done, total) => {
        progress ??= terminal.progress('choosing K', total, 'steps')
        progress.update(done)
      },
    })
    if (!choice.structured) {
      terminal.warn(
        'the features show no clusters that shorten their code; the number is a guess. ' +
          'Add images, or give -k a number',
      )
    }
    const tried = choice.curve.map((score) => score.k)
    if (choice.structured && (choice.k === tried[0] || choice.k === tried.at(-1))) {
      const end = choice.k === tried[0] ? 'smallest' : 'largest'
      terminal.warn(
        `${choice.k} is the ${end} number of clusters that was tried (--k-range); ` +
          `there may be ${end === 'smallest' ? 'more than so few images show' : 'more'}`,
      )
    }
    return { k: choice.k, choice }
  } finally {
    progress?.stop()
  }
}

/** One line on how K was chosen. */
export function describeChoice({ k, candidates }: ChooseKResult): string {
  const others = candidates.filter((other) => other !== k)
  const also = others.length > 0 ? `; about as short are the codes of ${others.join(', ')}` : ''
  return `chosen: ${k} clusters${also}`
}
