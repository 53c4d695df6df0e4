/** File name endings that are read as images, without the dot, in lower case. */
export const imageExtensions = ['jpg', 'jpeg', 'png', 'webp', 'avif', 'gif', 'tif', 'tiff'] as const

/** Whether a file's name, without folders, ends like an image's. */
export function isImageName(name: string): boolean {
  const dot = name.lastIndexOf('.')
  const extension = name.slice(dot + 1).toLowerCase()
  return dot > 0 && (imageExtensions as readonly string[]).includes(extension)
}

/** The last part of a path with `/` between parts. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Orders names the same on every machine, whatever its language. */
export const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
