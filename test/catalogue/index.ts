import { attentionFamily } from './attention.ts'
import type { OpCase } from './case.ts'
import { elementwise } from './elementwise.ts'
import { linearFamily } from './linear.ts'
import { losses } from './losses.ts'
import { norms } from './norms.ts'
import { rows } from './rows.ts'

/** Every case of every public op; a family to a file. */
export const catalogue: readonly OpCase[] = [
  ...elementwise,
  ...linearFamily,
  ...norms,
  ...rows,
  ...attentionFamily,
  ...losses,
]

/** `layerNorm: outliers of ±100`, unique in the catalogue. */
export const titleOf = ({ op, name, dtype = 'f32' }: OpCase): string =>
  `${op}: ${name}${dtype === 'f32' ? '' : `, ${dtype}`}`
