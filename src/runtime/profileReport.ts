import type { DispatchRecord, Profile } from './profile.ts'

/** Dispatches of one kernel at one shape. */
export interface ProfileRow {
  /** The kernel's name before its options: `matmul`. */
  readonly op: string
  readonly shapes: string
  /** The kernel's options and variant: `NT.bias.tile64`. */
  readonly variant: string
  readonly calls: number
  /** Of all calls, on the GPU. */
  readonly milliseconds: number
  readonly gflops?: number
  readonly gbs?: number
  /** Of all dispatches' time. */
  readonly share: number
}

export interface ProfileSummary {
  /** The longest first. */
  readonly rows: readonly ProfileRow[]
  readonly dispatches: number
  /** In which at least one dispatch ran. */
  readonly busyMs: number
  /** From the first dispatch's beginning to the last one's end. */
  readonly spanMs: number
}

/** Adds up a profile by kernel and shape. */
export function summarizeProfile({ records }: Profile): ProfileSummary {
  const groups = new Map<string, DispatchRecord[]>()
  for (const record of records) {
    const key = `${record.kernel}\n${record.shapes}`
    const group = groups.get(key)
    if (group) group.push(record)
    else groups.set(key, [record])
  }
  const all = sum(records, ({ duration }) => duration)
  const rows = [...groups.values()].map((group): ProfileRow => {
    const [{ kernel, shapes, flops }] = group as [DispatchRecord]
    const [op = kernel, ...options] = kernel.split('.')
    const time = sum(group, ({ duration }) => duration)
    const rate = (amount: number): number | undefined => (time > 0 ? amount / time : undefined)
    const gflops = flops === undefined ? undefined : rate(sum(group, ({ flops = 0 }) => flops))
    const gbs = rate(sum(group, ({ bytes }) => bytes))
    return {
      ...{ op, shapes, variant: options.join('.'), calls: group.length },
      milliseconds: time / 1e6,
      ...(gflops === undefined ? {} : { gflops }),
      ...(gbs === undefined ? {} : { gbs }),
      share: all > 0 ? time / all : 0,
    }
  })
  rows.sort((a, b) => b.milliseconds - a.milliseconds)
  return { rows, dispatches: records.length, ...spans(records) }
}

/** Time that any dispatch ran, and time from first to last; dispatches may overlap. */
function spans(records: readonly DispatchRecord[]): { busyMs: number; spanMs: number } {
  const ordered = [...records].sort((a, b) => a.start - b.start)
  let busy = 0
  let end = ordered[0]?.start ?? 0
  const first = end
  for (const { start, duration } of ordered) {
    busy += Math.max(0, start + duration - Math.max(start, end))
    end = Math.max(end, start + duration)
  }
  return { busyMs: busy / 1e6, spanMs: (end - first) / 1e6 }
}

/** A profile as a table for a console, a line for each kernel and shape, the longest first. */
export function profileTable(profile: Profile): string {
  const { rows, dispatches, busyMs, spanMs } = summarizeProfile(profile)
  const head = ['op', 'shapes', 'variant', 'calls', 'ms', 'GFLOP/s', 'GB/s', 'share']
  const cells = rows.map((row) => [
    row.op,
    row.shapes,
    row.variant,
    String(row.calls),
    row.milliseconds.toFixed(3),
    row.gflops?.toFixed(1) ?? '–',
    row.gbs?.toFixed(1) ?? '–',
    `${(row.share * 100).toFixed(1)} %`,
  ])
  const table = [head, ...cells]
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]!.length)))
  const lines = table.map((row) =>
    row
      .map((cell, i) => (i < 3 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  )
  const idle = spanMs - busyMs
  const part = spanMs > 0 ? ` (${((idle / spanMs) * 100).toFixed(0)} %)` : ''
  lines.push(
    `${dispatches} dispatches: ${busyMs.toFixed(3)} ms busy, ${idle.toFixed(3)} ms idle between them${part}`,
  )
  if (profile.quantized) {
    const { resolution } = profile
    // Where everything fell on one tick, its size is unknown.
    const to = resolution < 1e6 ? ` to ${(resolution / 1000).toFixed(1)} µs` : ''
    lines.push(
      `timestamps are rounded${to} here: trust sums over many dispatches only; ` +
        'Chromium keeps them exact with --enable-unsafe-webgpu',
    )
  }
  return lines.join('\n')
}

/** A complete event of the trace format; times in microseconds. */
interface TraceEvent {
  readonly name: string
  readonly cat: 'gpu'
  readonly ph: 'X'
  readonly ts: number
  readonly dur: number
  readonly pid: number
  readonly tid: number
  readonly args: Readonly<Record<string, unknown>>
}

interface TraceMetadata {
  readonly name: 'process_name' | 'thread_name'
  readonly ph: 'M'
  readonly pid: number
  readonly tid: number
  readonly args: { readonly name: string }
}

export interface ChromeTrace {
  readonly traceEvents: readonly (TraceEvent | TraceMetadata)[]
  readonly displayTimeUnit: 'ns'
  readonly otherData: Readonly<Record<string, unknown>>
}

/**
 * A profile in Chrome's trace format, once it is JSON in a file: open it in chrome://tracing or
 * ui.perfetto.dev.
 */
export function chromeTrace({ adapter, records, resolution }: Profile): ChromeTrace {
  const place = { pid: 1, tid: 1 }
  const title = adapter.description || adapter.vendor || 'GPU'
  return {
    traceEvents: [
      { name: 'process_name', ph: 'M', ...place, args: { name: 'Keeplight' } },
      { name: 'thread_name', ph: 'M', ...place, args: { name: title } },
      ...records.map(({ kernel, start, duration, ...args }): TraceEvent => {
        const times = { ts: start / 1000, dur: duration / 1000 }
        return { name: kernel, cat: 'gpu', ph: 'X', ...times, ...place, args }
      }),
    ],
    displayTimeUnit: 'ns',
    otherData: { adapter, resolutionNs: resolution },
  }
}

const sum = <T>(items: readonly T[], amount: (item: T) => number): number =>
  items.reduce((total, item) => total + amount(item), 0)
