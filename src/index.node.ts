/** {@link ./index.ts} for Node: the same, with Dawn as the GPU and weights from files. */
export * from './index.ts'
export { createDevice, type NodeDeviceOptions } from './runtime/adapter.node.ts'
export { openCollection, type OpenOptions } from './data/openCollection.node.ts'
export { loadModel, type NodeLoadOptions } from './loadModel.node.ts'
export { cachedModel, downloadModel, type DownloadOptions } from './model/hub.node.ts'
export { fileTuneStore } from './runtime/tuneCache.node.ts'
export { loadTextModel } from './loadTextModel.node.ts'
