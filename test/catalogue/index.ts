import { attentionFamily } from './attention.ts'
import type { OpCase } from './case.ts'
import { elementwise } from './elementwise.ts'
import { halves } from './half.ts'
import { images } from './images.ts'
import { layout } from './layout.ts'
import { linearFamily } from './linear.ts'
import { losses } from './losses.ts'
import { norms } from './norms.ts'
import { random } from './random.ts'
import { rows } from './rows.ts'
import { search } from './search.ts'
import { small } from './small.ts'
import { tsneCases } from './tsne.ts'

/** Every case of every public op; a family to a file. */
export const catalogue: readonly OpCase[] = [
  ...elementwise,
  ...linearFamily,
  ...norms,
  ...rows,
  ...attentionFamily,
  ...losses,
  ...layout,
  ...search,
  ...small,
  ...halves,
  ...images,
  ...random,
  ...tsneCases,
]

/** `layerNorm: outliers of ±100`, unique in the catalogue. */
export const titleOf = ({ op, name, dtype = 'f32' }: OpCase): string =>
  `${op}: ${name}${dtype === 'f32' ? '' : `, ${dtype}`}`
