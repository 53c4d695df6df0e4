/**
 * Measures the error of every op against f64 on one adapter and writes its table into
 * docs/numerics.md.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { createDevice } from '../src/index.node.ts'
import { catalogue } from '../test/catalogue/index.ts'
import { measure, type Measured } from '../test/catalogue/measure.ts'
import { adapterName, section, withSection } from '../test/catalogue/numericsDoc.ts'
import { runCase } from '../test/catalogue/run.ts'
import { describeAdapter, readOptions, runMain, writeWhole } from './options.ts'

const PATH = join(import.meta.dirname, '../docs/numerics.md')

await runMain('numerics', async () => {
  const options = readOptions('Writes docs/numerics.md: errors of every op against f64.', {
    adapter: { value: 'NAME', help: "lavapipe, swiftshader, or a part of a GPU's name" },
  })
  if (!options) return 0
  const device = await createDevice({ adapter: options.adapter })
  try {
    const measured: Measured[] = []
    for (const opCase of catalogue) measured.push(measure(opCase, await runCase(device, opCase)))
    const before = await readFile(PATH, 'utf8').catch(() => '')
    const text = withSection(before, adapterName(device.adapter), section(device.adapter, measured))
    const style = await resolveConfig(PATH)
    await writeWhole(PATH, await format(text, { ...style, parser: 'markdown' }))
    console.log(`${measured.length} cases on ${describeAdapter(device)} in docs/numerics.md`)
  } finally {
    device.close()
  }
  return 0
})
