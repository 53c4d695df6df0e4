/**
 * The import rules of the source tree, checked on what the TypeScript parser finds.
 *
 * kernels ← runtime ← model ← data ← train ← index ← cli, web
 */
import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import ts from 'typescript'

/** Source text by its path from the repository's root, such as `src/runtime/errors.ts`. */
export type Sources = ReadonlyMap<string, string>

const LAYERS = ['kernels', 'runtime', 'model', 'data', 'train', 'index', 'cli', 'web']
/** Both stand on top of index, and neither on the other. */
const TOP = ['cli', 'web']

/** Packages that are compiled into the page's build, by the one file that may import each. */
const INLINED: Readonly<Record<string, string>> = { munkres: 'src/train/metrics.ts' }

const NODE_MODULES = new Set([...builtinModules, ...builtinModules.map((name) => `node:${name}`)])

/** A module that a source names. */
export interface Import {
  readonly specifier: string
  /** A whole declaration of types, of which the compiled file keeps nothing. */
  readonly typeOnly: boolean
}

/** Every module that `source` names: imports, re-exports, `import()`, `import('…').T`, `require`. */
export function importsOf(path: string, source: string): Import[] {
  const found: Import[] = []
  const add = (node: ts.Node | undefined, typeOnly = false) => {
    if (node && ts.isStringLiteralLike(node)) found.push({ specifier: node.text, typeOnly })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.isTypeOnly)
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly)
    else if (ts.isExternalModuleReference(node)) add(node.expression)
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal, true)
    } else if (ts.isCallExpression(node) && isImportCall(node)) add(node.arguments[0])
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(path, source, ts.ScriptTarget.ES2022, false))
  return found
}

/** Everything in `sources` that breaks a rule, one sentence each; an empty list is a sound tree. */
export function findViolations(sources: Sources): string[] {
  const violations: string[] = []
  for (const [path, source] of sources) {
    if (layerOf(path) === undefined) {
      violations.push(`${path} is in no layer (${LAYERS.join(', ')})`)
      continue
    }
    for (const { specifier } of importsOf(path, source)) {
      const problem = specifier.startsWith('.')
        ? relativeProblem(path, specifier, sources)
        : packageProblem(path, specifier)
      if (problem) violations.push(`${path} imports ${specifier}: ${problem}`)
    }
  }
  const cycle = findCycle(sources)
  if (cycle) violations.push(`import cycle: ${cycle.join(' → ')}`)
  return violations
}

/** The files that a program loads which imports `entry`, `entry` included. */
export function closureOf(entry: string, sources: Sources): Set<string> {
  const closure = new Set<string>()
  const pending = [entry]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (closure.has(path)) continue
    closure.add(path)
    pending.push(...edgesOf(path, sources))
  }
  return closure
}

/** Whether a file may use Node: the command line, and files that say so in their name. */
export function mayUseNode(path: string): boolean {
  return path.startsWith('src/cli/') || path.endsWith('.node.ts')
}

function layerOf(path: string): string | undefined {
  if (path.startsWith('web/')) return 'web'
  // Files beside the two indexes are parts of them.
  if (/^src\/[^/]+$/.test(path)) return 'index'
  const folder = /^src\/([^/]+)\//.exec(path)?.[1]
  return folder && folder !== 'index' && folder !== 'web' && LAYERS.includes(folder)
    ? folder
    : undefined
}

function relativeProblem(path: string, specifier: string, sources: Sources): string | undefined {
  const target = resolve(path, specifier)
  const from = layerOf(path)
  // Every bundler compiles JSON in: the manifests of the models are data of a page, too.
  if (/^weights\/[^/]+\/manifest\.json$/.test(target)) return undefined
  if ((from === 'web' || mayUseNode(path)) && isAsset(specifier)) return undefined
  if (!sources.has(target)) return `there is no ${target} (a specifier ends in .ts)`
  const to = layerOf(target)
  if (from === undefined || to === undefined) return undefined
  if (from === 'web' && to !== 'web' && target !== 'src/index.ts') {
    return 'web may import only src/index.ts'
  }
  const isUpwards = LAYERS.indexOf(to) > LAYERS.indexOf(from)
  if (isUpwards || (from !== to && TOP.includes(from) && TOP.includes(to))) {
    return `${from} may not import ${to}`
  }
  if (!mayUseNode(path) && mayUseNode(target)) return 'this file also runs in a page'
  return undefined
}

function packageProblem(path: string, specifier: string): string | undefined {
  if (mayUseNode(path) || INLINED[specifier] === path) return undefined
  return NODE_MODULES.has(specifier)
    ? 'only src/cli and *.node.ts may import Node'
    : 'only src/cli and *.node.ts may import packages'
}

/** One cycle of imports, its first file repeated at its end. */
function findCycle(sources: Sources): string[] | undefined {
  const done = new Set<string>()
  const trail: string[] = []
  const walk = (path: string): string[] | undefined => {
    if (done.has(path)) return undefined
    const start = trail.indexOf(path)
    if (start >= 0) return [...trail.slice(start), path]
    trail.push(path)
    for (const target of edgesOf(path, sources)) {
      const cycle = walk(target)
      if (cycle) return cycle
    }
    trail.pop()
    done.add(path)
    return undefined
  }
  for (const path of sources.keys()) {
    const cycle = walk(path)
    if (cycle) return cycle
  }
  return undefined
}

/** What the compiled file loads. Types of two files may name each other: nothing of it runs. */
function edgesOf(path: string, sources: Sources): string[] {
  return importsOf(path, sources.get(path) ?? '')
    .filter(({ specifier, typeOnly }) => !typeOnly && specifier.startsWith('.'))
    .map(({ specifier }) => resolve(path, specifier))
    .filter((target) => sources.has(target))
}

function resolve(path: string, specifier: string): string {
  return posix.join(posix.dirname(path), specifier)
}

/** No code: a style sheet, a picture, a JSON file, or a weight file of which Vite gives the address. */
function isAsset(specifier: string): boolean {
  return /\?url$|\.(css|svg|png|json)$/.test(specifier)
}

function isImportCall(node: ts.CallExpression): boolean {
  return (
    node.expression.kind === ts.SyntaxKind.ImportKeyword ||
    (ts.isIdentifier(node.expression) && node.expression.text === 'require')
  )
}
