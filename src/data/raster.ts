import { randomUniform } from '../kernels/random.ts'
import type { Pixels } from '../model/preprocess.ts'

/** A colour as red, green and blue from 0 to 1. */
export type Colour = readonly [number, number, number]

/** Random draws in order from one stream of the counter-based generator. */
export class RandomStream {
  private index = 0

  constructor(
    private readonly seed: number,
    private readonly stream: number,
  ) {}

  /** A number in [low, high). */
  range(low: number, high: number): number {
    return low + (high - low) * randomUniform(this.seed, this.stream, this.index++)
  }

  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return Math.floor(this.range(low, high + 1))
  }

  chance(probability: number): boolean {
    return this.range(0, 1) < probability
  }

  /** A colour from ranges of hue (turns; may pass 1), saturation and lightness. */
  colour(
    hue: readonly [number, number],
    saturation: readonly [number, number],
    lightness: readonly [number, number],
  ): Colour {
    return hsl(this.range(...hue), this.range(...saturation), this.range(...lightness))
  }
}

/** Hue in turns, saturation and lightness from 0 to 1 (CSS Color 4, section 7.1). */
export function hsl(hue: number, saturation: number, lightness: number): Colour {
  const a = saturation * Math.min(lightness, 1 - lightness)
  const channel = (n: number): number => {
    const k = (((n + hue * 12) % 12) + 12) % 12
    return lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))
  }
  return [channel(0), channel(8), channel(4)]
}

export function mix(a: Colour, b: Colour, t: number): Colour {
  return [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

/** Lightens (`amount` > 0, towards white) or darkens (< 0, towards black). */
export function shade(colour: Colour, amount: number): Colour {
  return amount >= 0 ? mix(colour, [1, 1, 1], amount) : mix(colour, [0, 0, 0], -amount)
}

const latticeSize = 32

/** Smooth value noise in [0, 1): a random lattice, interpolated; lattice points lie at integers. */
export class Noise {
  private readonly lattice: Float32Array

  constructor(random: RandomStream) {
    this.lattice = Float32Array.from({ length: latticeSize ** 2 }, () => random.range(0, 1))
  }

  at(x: number, y: number): number {
    const x0 = Math.floor(x)
    const y0 = Math.floor(y)
    const u = smooth(x - x0)
    const v = smooth(y - y0)
    const top = this.point(x0, y0) * (1 - u) + this.point(x0 + 1, y0) * u
    const bottom = this.point(x0, y0 + 1) * (1 - u) + this.point(x0 + 1, y0 + 1) * u
    return top * (1 - v) + bottom * v
  }

  /** Octaves of noise, each twice as fine and half as strong; in [0, 1). */
  fractal(x: number, y: number, octaves = 4): number {
    let sum = 0
    for (let octave = 0; octave < octaves; octave++) {
      sum += this.at(x * 2 ** octave + 7 * octave, y * 2 ** octave) / 2 ** octave
    }
    return sum / (2 - 2 ** (1 - octaves))
  }

  private point(x: number, y: number): number {
    return this.lattice[(y & (latticeSize - 1)) * latticeSize + (x & (latticeSize - 1))]
  }
}

function smooth(t: number): number {
  return t * t * (3 - 2 * t)
}

export type Paint = Colour | ((x: number, y: number) => Colour)
export type Point = readonly [number, number]

/** A picture to paint on: later shapes cover earlier ones. Coordinates are pixels, y downwards. */
export class Canvas {
  readonly data: Float32Array

  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.data = new Float32Array(width * height * 3)
  }

  /** The colour of a pixel. */
  at(x: number, y: number): Colour {
    const at = (y * this.width + x) * 3
    return [this.data[at], this.data[at + 1], this.data[at + 2]]
  }

  fill(paint: Paint): void {
    this.region([0, 0, this.width, this.height], () => true, paint)
  }

  rectangle(x: number, y: number, width: number, height: number, paint: Paint): void {
    this.region([x, y, x + width, y + height], () => true, paint)
  }

  /** A filled ellipse, turned by `angle` radians about its centre. */
  ellipse(
    cx: number,
    cy: number,
    rx: number,
    ry: number,
    paint: Paint,
    angle = 0,
    alpha = 1,
  ): void {
    const cos = Math.cos(angle)
    const sin = Math.sin(angle)
    const reach = Math.max(rx, ry)
    const inside = (x: number, y: number): boolean => {
      const u = ((x - cx) * cos + (y - cy) * sin) / rx
      const v = ((y - cy) * cos - (x - cx) * sin) / ry
      return u * u + v * v <= 1
    }
    this.region([cx - reach, cy - reach, cx + reach + 1, cy + reach + 1], inside, paint, alpha)
  }

  circle(cx: number, cy: number, radius: number, paint: Paint, alpha = 1): void {
    this.ellipse(cx, cy, radius, radius, paint, 0, alpha)
  }

  /** A filled polygon, even-odd rule. */
  polygon(points: readonly Point[], paint: Paint, alpha = 1): void {
    const xs = points.map(([x]) => x)
    const ys = points.map(([, y]) => y)
    const box = [
      Math.min(...xs),
      Math.min(...ys),
      Math.max(...xs) + 1,
      Math.max(...ys) + 1,
    ] as const
    this.region(box, (x, y) => insidePolygon(points, x, y), paint, alpha)
  }

  /** Paints the pixels of a box whose centres are `inside`. */
  private region(
    [left, top, right, bottom]: readonly [number, number, number, number],
    inside: (x: number, y: number) => boolean,
    paint: Paint,
    alpha = 1,
  ): void {
    const endX = Math.min(this.width, Math.floor(right))
    const endY = Math.min(this.height, Math.floor(bottom))
    for (let y = Math.max(0, Math.floor(top)); y < endY; y++) {
      for (let x = Math.max(0, Math.floor(left)); x < endX; x++) {
        if (!inside(x + 0.5, y + 0.5)) continue
        const colour = typeof paint === 'function' ? paint(x, y) : paint
        const at = (y * this.width + x) * 3
        for (let c = 0; c < 3; c++) this.data[at + c] += (colour[c] - this.data[at + c]) * alpha
      }
    }
  }
}

function insidePolygon(points: readonly Point[], x: number, y: number): boolean {
  let inside = false
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [xi, yi] = points[i]
    const [xj, yj] = points[j]
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside
  }
  return inside
}

/**
 * "Photographs" a canvas: a crop of it, tilted, perhaps mirrored, under other light, with grain.
 *
 * @returns RGB pixels, `width` · `height` · 3 bytes
 */
export function photograph(
  canvas: Canvas,
  width: number,
  height: number,
  random: RandomStream,
): Pixels {
  const zoom = random.range(0.66, 0.94)
  const angle = random.range(-0.1, 0.1)
  const cos = (Math.cos(angle) * zoom * canvas.width) / width
  const sin = (Math.sin(angle) * zoom * canvas.width) / width
  const mirror = random.chance(0.5) ? -1 : 1
  const slack = (1 - zoom) / 2.5
  const cx = canvas.width * (0.5 + random.range(-slack, slack))
  const cy = canvas.height * (0.5 + random.range(-slack, slack))
  const light = random.range(0.62, 1.3)
  const contrast = random.range(0.75, 1.2)
  const tint = [random.range(0.84, 1.16), random.range(0.92, 1.08), random.range(0.84, 1.16)]
  const grain = random.range(0.005, 0.05)
  const noise = new Noise(random)
  const data = new Uint8Array(width * height * 3)
  const sum = [0, 0, 0]
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      sum.fill(0)
      // Four samples a pixel smooth the edges.
      for (let sample = 0; sample < 4; sample++) {
        const u = (x + 0.25 + 0.5 * (sample & 1) - width / 2) * mirror
        const v = y + 0.25 + 0.5 * (sample >> 1) - height / 2
        const px = clamp(Math.floor(cx + u * cos - v * sin), 0, canvas.width - 1)
        const py = clamp(Math.floor(cy + u * sin + v * cos), 0, canvas.height - 1)
        const at = (py * canvas.width + px) * 3
        for (let c = 0; c < 3; c++) sum[c] += canvas.data[at + c] / 4
      }
      const speck = (noise.at(x * 7.31, y * 5.77) - 0.5) * 2 * grain
      for (let c = 0; c < 3; c++) {
        const value = ((sum[c] - 0.5) * contrast + 0.5) * light * tint[c] + speck
        data[(y * width + x) * 3 + c] = Math.round(255 * clamp(value, 0, 1))
      }
    }
  }
  return { width, height, data }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value))
}
