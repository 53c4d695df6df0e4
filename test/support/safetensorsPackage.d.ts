/** The part that tests use of npm's `safetensors` 0.0.1, which comes without types. */
declare module 'safetensors' {
  /** A reader that checks nothing; it takes a file without metadata, as a whole. */
  export class SafeTensor {
    constructor(file: Uint8Array)
    readonly metadata: Map<string, { dtype: string; shape: number[]; data_offsets: number[] }>
    getTensor(name: string): Uint8Array
  }
}
