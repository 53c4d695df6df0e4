import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'
import sharp from 'sharp'

const STATE = 'keeplight.loaders'

/**
 * Blocks every loader of libvips but those of the six formats that Keeplight promises, whatever a file's
 * name says: content decides. So SVG, PDF, PPM, FITS, ImageMagick's formats and the like never run.
 *
 * What is blocked is blocked for the whole process, and for a moment everything is, which would fail
 * pictures that other threads are in the middle of. So it is done once, before the first decoding thread
 * starts: threads inherit the note that it was.
 */
export function blockLoaders(): void {
  if (getEnvironmentData(STATE) === 'blocked') return
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({
    operation: [
      'VipsForeignLoadJpeg',
      'VipsForeignLoadPng',
      'VipsForeignLoadWebp',
      'VipsForeignLoadHeif', // AVIF; the prebuilt libheif has no HEVC decoder, so HEIC is refused
      'VipsForeignLoadNsgif',
      'VipsForeignLoadTiff',
    ],
  })
  setEnvironmentData(STATE, 'blocked')
}
