import {
  checkConfig,
  checkPixels,
  centreWindow,
  preprocess,
  resizeBicubic,
  resizeWindow,
  shortestEdgeSize,
  type Pixels,
  type PreprocessConfig,
  type Rectangle,
} from '../model/preprocess.ts'
import { cropEdge, cropWindow, type ViewDraw } from './augment.ts'

/**
 * What every view of one picture is cut from, resized once. A plain object: it may be sent to a worker.
 */
export type ViewPicture = {
  /** Random stream of its views: what the picture is known by, so that they don't depend on order. */
  readonly stream: number
} & (ResizedPicture | { readonly pixels: Pixels })

interface ResizedPicture {
  /** Of the picture whose shortest edge is as long as crops need. */
  readonly width: number
  readonly height: number
  /** Its RGB bytes; after them those of the clean picture, where that is not the middle of the first. */
  readonly data: Uint8Array<ArrayBuffer>
}

/** Pictures longer than this many crop edges stay as they are, and are resized view by view. */
const LONGEST = 16

/**
 * Resizes a picture for all its views.
 *
 * @param stream random stream of its views
 * @throws KeeplightError `validation`
 */
export function viewPicture(pixels: Pixels, config: PreprocessConfig, stream: number): ViewPicture {
  checkPixels(pixels)
  checkConfig(config)
  const edge = cropEdge(config.size)
  const { width, height } = shortestEdgeSize(pixels, edge)
  if (width * height > LONGEST * edge * edge) return { stream, pixels }
  const wide = resizeBicubic(pixels, width, height)
  const clean = config.resize === edge ? new Uint8Array() : preprocess(pixels, config).data
  const data = new Uint8Array(wide.data.length + clean.length)
  data.set(wide.data)
  data.set(clean, wide.data.length)
  return { stream, width, height, data }
}

/** Bytes that a picture keeps. */
export const viewPictureBytes = (picture: ViewPicture): number =>
  ('pixels' in picture ? picture.pixels : picture).data.length

/**
 * The part of a picture that a view shows, before its blur.
 *
 * @param out receives S×S RGB bytes, S = `config.size`
 */
export function cutView(
  picture: ViewPicture,
  draw: ViewDraw,
  config: PreprocessConfig,
  out: Uint8Array,
): void {
  const { size, resize } = config
  if ('pixels' in picture) {
    const { pixels } = picture
    const { width, height } = shortestEdgeSize(pixels, cropEdge(size))
    const window = cropWindow(width, height, size, draw)
    const cut = draw.crop ? resizeWindow(pixels, width, height, window) : preprocess(pixels, config)
    out.set(cut.data)
    return
  }
  const { width, height, data } = picture
  if (draw.crop) copyRows(data, width, cropWindow(width, height, size, draw), out)
  else if (resize === cropEdge(size)) copyRows(data, width, centreWindow(width, height, size), out)
  else out.set(data.subarray(width * height * 3))
}

function copyRows(data: Uint8Array, width: number, window: Rectangle, out: Uint8Array): void {
  const row = window.width * 3
  for (let y = 0; y < window.height; y++) {
    const from = ((window.y + y) * width + window.x) * 3
    out.set(data.subarray(from, from + row), y * row)
  }
}
