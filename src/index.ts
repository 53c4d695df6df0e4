/**
 * Keeplight: CLIP and DINO vision transformers and light adapters on WebGPU, for pages and Node.
 *
 * Everything here runs in a page. In Node, `keeplight` resolves to `index.node.ts`, which is this
 * with Dawn as the GPU and files as the source of weights.
 */
export { createDevice, Device } from './runtime/device.ts'
export type { AdapterDescription } from './runtime/adapter.ts'
export type { DeviceOptions, DeviceStats } from './runtime/device.ts'
export { recoverDevice, withRecovery, type RecoverOptions } from './runtime/recovery.ts'
export type { SubmitStats } from './runtime/budget.ts'
export { KeeplightError, type ErrorCode } from './runtime/errors.ts'
export { OutOfMemoryError } from './runtime/outOfMemory.ts'
export { keep, scope, Tensor } from './runtime/tensor.ts'
export type { ArrayOf, Dtype, TensorArray } from './runtime/dtype.ts'
export { backward, withoutTape } from './runtime/tape.ts'
export { Plan, record, type PlanStats } from './runtime/plan.ts'
export type { DispatchRecord, Profile } from './runtime/profile.ts'
export {
  chromeTrace,
  profileTable,
  summarizeProfile,
  type ProfileRow,
  type ProfileSummary,
} from './runtime/profileReport.ts'
export type { KernelChoice, NotedProblem } from './runtime/choice.ts'
export { tunableFamilyNames, tune, type TunedProblem, type TuneOptions } from './runtime/tune.ts'
export { indexedDbStore, loadTuning, saveTuning, type TuneStore } from './runtime/tuneCache.ts'
export { Parameters } from './runtime/parameters.ts'
export { measureSpeed, timePlan, type Speed } from './runtime/speed.ts'
export * from './runtime/ops/index.ts'
export { defineKernel, kernelSource, read, readWrite, type Kernel } from './kernels/kernel.ts'
export type { Activation } from './kernels/activations.ts'
export { randomBits, randomInteger, randomNormal, randomUniform } from './kernels/random.ts'
export { permutationKey, permute as permuteIndex } from './kernels/permutation.ts'

export { DEFAULT_MODEL, loadModel } from './loadModel.ts'
export type { LoadOptions, LoadProgress, ModelSource } from './loadModel.ts'
export { findManifest, manifests } from './model/manifest.ts'
export { parseManifest, type HubPlace, type ModelManifest } from './model/manifestFormat.ts'
export type { WeightDtype } from './model/convertWeights.ts'
export {
  modelFromBytes,
  modelFromSource,
  VisionModel,
  type EmbeddingOptions,
  type ModelOptions,
} from './model/model.ts'
export {
  blobSource,
  bufferSource,
  httpSource,
  type ByteSource,
  type HttpSourceOptions,
} from './model/byteSource.ts'
export {
  openSafetensors,
  openShardedSafetensors,
  type SafetensorsSource,
  type ShardedSource,
} from './model/safetensorsSource.ts'
export { loadText, loadVit } from './model/loadTowers.ts'
export type { Activations, Inspection, InspectOptions } from './model/inspect.ts'
export type { ImageDecoder, ImageInput, Images } from './model/imageInput.ts'
export { MlpHead, scpHeadConfig } from './model/mlpHead.ts'
export type { HeadNorm, HeadWeights, Initialization, MlpHeadConfig } from './model/mlpHead.ts'
export { concatFeatures, normalizeRows, type Embeddings, type Features } from './model/features.ts'
export { Lora, type LoraOptions, type LoraTarget } from './model/lora.ts'
export { parseSafetensors, serializeSafetensors } from './model/safetensors.ts'
export type { SafetensorsFile, TensorData } from './model/safetensors.ts'
export {
  preprocess,
  resizeBicubic,
  type Pixels,
  type PreprocessConfig,
} from './model/preprocess.ts'
export { classRowsOf, VisionTransformer } from './model/vit/vit.ts'
export { loadTextModel, type LoadTextOptions } from './loadTextModel.ts'
export {
  TextModel,
  textModelFromBytes,
  textModelFromSource,
  type TextEmbeddingOptions,
  type TextModelOptions,
} from './model/text/textModel.ts'
export { CIFAR_TEMPLATES, IMAGENET_TEMPLATES } from './model/text/templates.ts'
export {
  classify,
  zeroShot,
  zeroShotClassifier,
  type Template,
  type ZeroShotClassifier,
  type ZeroShotOptions,
  type ZeroShotResult,
} from './model/zeroShot.ts'
export { Tokenizer, type TokenizeOptions } from './model/text/tokenizer.ts'
export { readText, type TextConfig, type TextWeights } from './model/text/names.ts'
export {
  textInputs,
  TextTransformer,
  type TextInputs,
  type TextOutput,
} from './model/text/textTransformer.ts'
export {
  transformerBlock,
  type Affine,
  type BlockOptions,
  type BlockTensors,
  type Dense,
  type LowRank,
} from './model/transformerBlock.ts'
export type { VitConfig } from './model/vit/config.ts'

export { classesOf } from './data/classes.ts'
export type { Holder, ImageCollection, ImageContent } from './data/collection.ts'
export { decodeImage } from './data/decode.ts'
export { embedImages, type EmbedOptions } from './data/embedImages.ts'
export { prepareViews, type ViewOptions } from './data/augment.ts'
export { viewPicture, type ViewPicture } from './data/viewPicture.ts'
export { drawScene, sceneKinds, type SceneKind } from './data/scenes.ts'

export type { Adapter, AdapterLoss, AdapterMaker, AdapterSizes, Batch } from './train/adapter.ts'
export {
  ResidentSource,
  stepsPerEpoch,
  type BatchSource,
  type SamplingOptions,
} from './train/batchSource.ts'
export { cluster } from './train/cluster.ts'
export { inertiaOf } from './train/predictRuns.ts'
export type {
  ClusterMethod,
  ClusterOptions,
  ClusterProgress,
  ClusterResult,
  SourceMaker,
} from './train/cluster.ts'
export { chooseSource, type SourceOptions } from './train/chooseSource.ts'
export { HostRows } from './train/hostRows.ts'
export { StreamingSource } from './train/streamingSource.ts'
export { OnlineSource } from './train/onlineSource.ts'
export type { OnlineOptions, OnlineProgress, OnlineViews } from './train/onlineSource.ts'
export type { OnlineEncoder } from './train/viewEmbedder.ts'
export type { RestartSummary } from './train/checkpoint.ts'
export { FeatureStore } from './train/featureStore.ts'
export { linearProbe } from './train/linearProbe.ts'
export type { LinearProbeOptions, LinearProbeResult } from './train/linearProbe.ts'
export { LinearProbeAdapter } from './train/linearProbeAdapter.ts'
export { ScpAdapter } from './train/scpAdapter.ts'
export { scpSettings, type Preset, type ScpSettings } from './train/scpSettings.ts'
export { temi, TemiAdapter, type TemiOptions, type TemiSettings } from './train/temiAdapter.ts'
export { DivergedError, train } from './train/trainer.ts'
export type {
  Divergence,
  Probe,
  TrainedRuns,
  TrainOptions,
  TrainProgress,
} from './train/trainer.ts'
export { trainingStep, TrainingState, type TraceRow } from './train/trainingState.ts'
export type { OptimizerOptions, TrainingSnapshot } from './train/trainingState.ts'
export {
  assignmentsCsv,
  assignmentsJson,
  toAssignments,
  type Assignment,
} from './train/assignments.ts'
export { assignToCentres } from './train/assignToCentres.ts'
export {
  chooseK,
  defaultRange,
  type ChooseKOptions,
  type ChooseKResult,
  type KScore,
} from './train/chooseK.ts'
export { codingLength, type CodingLengthOptions, type FeatureRows } from './train/codingLength.ts'
export { kmeans, kmeansRuns, type KmeansOptions, type KmeansResult } from './train/kmeans.ts'
export { calinskiHarabasz, silhouettes, type SilhouetteOptions } from './train/silhouette.ts'
export { assertSameModel, loadHead, serializeHead } from './train/headFile.ts'
export type { HeadAbout, SavedHead } from './train/headFile.ts'
export { headKinds, type HeadKind, type OpenHead } from './train/headKinds.ts'
export { predictClusters, type ClusterPrediction } from './train/predict.ts'
export {
  clusterSpace,
  nearestImages,
  type Background,
  type Found,
  type Rows,
  type SearchOptions,
} from './train/search.ts'
export {
  MAX_TSNE_ROWS,
  tsne,
  type TsneOptions,
  type TsneProgress,
  type TsneResult,
} from './train/tsne.ts'
export { adam, adamW, type AdamState } from './train/adam.ts'
export { sgd, type SgdOptions } from './train/sgd.ts'
export { decayMatrices, decayMatricesOfRuns, parameterGroups } from './train/parameterGroups.ts'
export type { ParameterGroup, ParameterGroups } from './train/parameterGroups.ts'
export {
  adamTable,
  cosineSchedule,
  sgdTable,
  warmupCosineSchedule,
  type AdamOptions,
} from './train/schedule.ts'
export {
  adjustedRandIndex,
  clusteringAccuracy,
  confusionMatrix,
  matchClusters,
  normalizedMutualInformation,
} from './train/metrics.ts'
