export { gatherRows } from './gather.ts'
