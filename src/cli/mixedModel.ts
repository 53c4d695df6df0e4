import { stat } from 'node:fs/promises'
import { concatFeatures, findManifest } from '../index.node.ts'
import type { VisionModel } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Collected } from './collect.ts'

/** Several encoders whose features stand side by side, each normalised on its own (SCP-MIX). */
export class MixedModel {
  readonly encoders: readonly VisionModel[]

  constructor(encoders: readonly VisionModel[]) {
    this.encoders = encoders
  }

  get name(): string {
    return this.encoders.map(({ name }) => name).join('+')
  }

  get hash(): string {
    return this.encoders.map(({ hash }) => hash).join('+')
  }

  get dimension(): number {
    return this.encoders.reduce((sum, { dimension }) => sum + dimension, 0)
  }

  async dispose(): Promise<void> {
    for (const encoder of this.encoders) await encoder.dispose()
  }
}

/**
 * The models that `--model` means: names or paths joined by `+`. What is a model or a file as a whole
 * is one, whatever its name.
 *
 * @throws KeeplightError `usage` when a name is missing, or stands twice
 */
export async function modelNames(model: string): Promise<string[]> {
  const whole = findManifest(model) !== undefined || (await stat(model).catch(() => undefined))
  if (!model.includes('+') || whole) return [model]
  const names = model.split('+').map((name) => name.trim())
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (names.includes('') || twice !== undefined) {
    throw new KeeplightError(
      'usage',
      `--model ${model}: expected different models joined by +, such as clip-vit-l-14+dino-vit-b-8`,
    )
  }
  return names
}

/**
 * What several encoders made of one collection, as one: their features side by side, for the images
 * that all of them have.
 */
export function joinCollected(parts: readonly Collected[]): Collected {
  const [first] = parts
  const everywhere = parts.map(({ kept }) => new Set(kept))
  const kept = first.kept.filter((index) => everywhere.every((some) => some.has(index)))
  const features = concatFeatures(parts.map((part) => rowsOf(part, kept)))
  const broken = new Map(parts.flatMap((part) => part.broken.map((file) => [file.path, file])))
  const reused = Math.min(...parts.map((part) => part.reused))
  const rawBytes = first.raw.length / first.kept.length
  const raw = new Uint8Array(kept.length * rawBytes)
  placesOf(first.kept, kept).forEach((row, i) => {
    raw.set(first.raw.subarray(row * rawBytes, (row + 1) * rawBytes), i * rawBytes)
  })
  const bytes = parts.reduce((sum, { cache }) => sum + (cache?.bytes ?? 0), 0)
  return {
    ...{ features, kept, raw, broken: [...broken.values()], reused },
    embedded: Math.max(...parts.map((part) => part.embedded)),
    cache: first.cache && { folder: first.cache.folder, bytes },
  }
}

/** Where the chosen images stand among all; both ascend. */
function placesOf(all: readonly number[], chosen: readonly number[]): number[] {
  const places = new Map(all.map((index, row) => [index, row]))
  return chosen.map((index) => places.get(index)!)
}

function rowsOf({ features, kept: all }: Collected, chosen: readonly number[]) {
  if (all.length === chosen.length) return features
  const { dimension, views, clean, augmented } = features
  const places = placesOf(all, chosen)
  const take = (data: Float32Array, copies: number): Float32Array => {
    const out = new Float32Array(copies * chosen.length * dimension)
    for (let copy = 0; copy < copies; copy++) {
      places.forEach((row, i) => {
        const from = (copy * all.length + row) * dimension
        out.set(data.subarray(from, from + dimension), (copy * chosen.length + i) * dimension)
      })
    }
    return out
  }
  const count = chosen.length
  return { count, dimension, views, clean: take(clean, 1), augmented: take(augmented, views) }
}
