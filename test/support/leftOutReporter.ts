import type { Reporter, TestModule } from 'vitest/node'
import type { LeftOut } from './leftOut.ts'

/** What one test left out. */
export interface Note extends LeftOut {
  readonly project: string
  readonly file: string
}

/** Ends a run with a line for each project: what its adapter can't run, why, and in which files. */
export default class LeftOutReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const notes = modules.flatMap((module) =>
      [...module.children.allTests()].flatMap((test) =>
        (test.meta().leftOut ?? []).map((part) => {
          return { ...part, project: module.project.name, file: module.relativeModuleId }
        }),
      ),
    )
    const projects = modules.map(({ project }) => project.name)
    for (const line of describeLeftOut(projects, notes)) console.log(line)
  }
}

/** A line for each project that ran, by name: which one finishes first changes from run to run. */
export function describeLeftOut(projects: readonly string[], notes: readonly Note[]): string[] {
  return [...new Set(projects)].sort().map((project) => {
    const files = new Map<string, Set<string>>()
    for (const { what, why, file } of notes.filter((note) => note.project === project)) {
      const part = `${what} (${why})`
      files.set(part, (files.get(part) ?? new Set<string>()).add(file))
    }
    const parts = [...files].map(([part, where]) => `${part} in ${[...where].join(', ')}`)
    return `left out on ${project}: ${parts.join('; ') || 'nothing'}`
  })
}
