import type { Pixels } from '../model/preprocess.ts'
import { Canvas, Noise, RandomStream, hsl, mix, photograph, shade } from './raster.ts'
import type { Colour, Point } from './raster.ts'

/**
 * Procedural pictures for the demo and for tests: kinds of scene that differ in what they show,
 * while colour, light, place, scale, tilt and noise vary so much within each kind that pixels alone
 * tell little.
 */

const width = 240
const height = 180

interface Brush {
  readonly canvas: Canvas
  readonly random: RandomStream
  readonly noise: Noise
}

const painters = {
  sunset: paintSunset,
  forest: paintForest,
  skyline: paintSkyline,
  mountains: paintMountains,
  flower: paintFlower,
  bricks: paintBricks,
  fish: paintFish,
  balloons: paintBalloons,
} satisfies Record<string, (brush: Brush) => void>

/** A kind of scene that {@link drawScene} can draw. */
export type SceneKind = keyof typeof painters

export const sceneKinds = Object.keys(painters) as readonly SceneKind[]

/**
 * Draws one scene: 160 × 120 RGB pixels that follow from the kind and the seed alone.
 *
 * @param seed any unsigned 32-bit integer
 */
export function drawScene(kind: SceneKind, seed: number): Pixels {
  const random = new RandomStream(seed, sceneKinds.indexOf(kind))
  const canvas = new Canvas(width, height)
  painters[kind]({ canvas, random, noise: new Noise(random) })
  return photograph(canvas, 160, 120, random)
}

/** A vertical gradient, by rows. */
function gradient(top: Colour, bottom: Colour, from = 0, to = height) {
  return (_x: number, y: number): Colour => mix(top, bottom, (y - from) / (to - from))
}

function paintSunset({ canvas, random, noise }: Brush): void {
  const horizon = random.range(80, 120)
  const hue = random.range(0.92, 1.14)
  const high = random.colour([hue - 0.35, hue - 0.1], [0.3, 0.7], [0.2, 0.5])
  const low = hsl(hue, 0.9, random.range(0.5, 0.68))
  const sunX = random.range(60, 180)
  const sunY = horizon - random.range(4, 42)
  const radius = random.range(9, 20)
  canvas.fill((x, y) => {
    const glow = Math.exp(-Math.hypot(x - sunX, y - sunY) / 45)
    const cloud = noise.fractal(x / 60, y / 12) > 0.58 ? 0.22 : 0
    return mix(shade(gradient(high, low, 0, horizon)(x, y), -cloud), [1, 0.95, 0.75], glow * 0.8)
  })
  canvas.circle(sunX, sunY, radius, [1, 0.96, 0.8])
  const sea = shade(mix(high, low, 0.35), -0.35)
  canvas.rectangle(0, horizon, width, height - horizon, (x, y) => {
    const depth = (y - horizon) / (height - horizon)
    const wave = noise.at((x / 26) * (1.4 - depth), (y - horizon) / (1.5 + 6 * depth))
    const path = Math.abs(x - sunX) < radius * (0.7 + 1.6 * depth) && wave > 0.45 ? 0.75 : 0
    return mix(shade(sea, (wave - 0.6) * 0.5), mix(low, [1, 0.95, 0.8], 0.5), path)
  })
}

function paintForest({ canvas, random, noise }: Brush): void {
  const sky = random.colour([0.48, 1.12], [0.1, 0.6], [0.15, 0.9])
  canvas.fill((x, y) => shade(sky, 0.2 * noise.fractal(x / 50, y / 30)))
  const hue = random.chance(0.3) ? random.range(0.06, 0.14) : random.range(0.22, 0.4)
  const ground = hsl(random.range(0.08, 0.3), 0.35, random.range(0.2, 0.4))
  canvas.rectangle(0, 125, width, 55, (x, y) => shade(ground, noise.fractal(x / 8, y / 5) - 0.5))
  for (let layer = 0; layer < 3; layer++) {
    const base = 125 + layer * 20
    for (let x = random.range(-20, 5); x < width + 20; x += random.range(12, 26) + layer * 5) {
      const size = random.range(0.75, 1.25) * (60 + layer * 26)
      const leaf = shade(hsl(hue + random.range(-0.03, 0.03), 0.45, 0.34), 0.25 - layer * 0.24)
      paintFir(canvas, noise, x, base + random.range(-6, 6), size, leaf)
    }
  }
}

function paintFir(
  canvas: Canvas,
  noise: Noise,
  x: number,
  base: number,
  size: number,
  leaf: Colour,
): void {
  canvas.rectangle(x - size / 28, base - size * 0.15, size / 14, size * 0.17, [0.24, 0.16, 0.1])
  for (let tier = 0; tier < 4; tier++) {
    const top = base - size * (1 - tier * 0.17)
    const bottom = base - size * (0.6 - tier * 0.16)
    const half = size * (0.11 + tier * 0.045)
    const needles = (px: number, py: number): Colour =>
      shade(leaf, noise.fractal(px / 4, py / 3) * 0.9 - 0.5)
    canvas.polygon(
      [
        [x, top],
        [x + half, bottom],
        [x - half, bottom],
      ],
      needles,
    )
  }
}

function paintSkyline({ canvas, random, noise }: Brush): void {
  const night = random.range(0, 1) // from noon to midnight
  const top = shade(random.colour([0.5, 0.8], [0.3, 0.7], [0.5, 0.7]), -0.9 * night)
  const low = shade(random.colour([0.5, 1.12], [0.3, 0.7], [0.6, 0.85]), -0.7 * night)
  canvas.fill((x, y) => shade(gradient(top, low)(x, y), noise.fractal(x / 40, y / 20) * 0.15))
  const lamp = random.colour([0.1, 0.17], [0.6, 1], [0.6, 0.8])
  for (let layer = 0; layer < 3; layer++) {
    for (let x = random.range(-15, 0); x < width;) {
      const wide = random.range(18, 40)
      const tall = random.range(45, 135) - layer * 16
      const wall = shade(random.colour([0.5, 1.1], [0.05, 0.3], [0.16, 0.3]), 0.15 - 0.5 * night)
      const roof = height - tall
      canvas.rectangle(x, roof, wide, tall, shade(wall, 0.25 - layer * 0.2))
      if (random.chance(0.3)) canvas.rectangle(x + wide / 2, roof - 16, 1.5, 16, wall)
      for (let wy = roof + 5; wy < height; wy += 8) {
        for (let wx = x + 3; wx < x + wide - 4; wx += 6) {
          const lit = random.chance(0.15 + 0.4 * night)
          canvas.rectangle(wx, wy, 3, 4, lit ? lamp : shade(wall, 0.4 - 0.8 * night))
        }
      }
      x += wide + random.range(-2, 6)
    }
  }
}

function paintMountains({ canvas, random, noise }: Brush): void {
  const sky = random.colour([0.5, 1.1], [0.25, 0.7], [0.2, 0.75])
  const haze = random.colour([0.5, 1.15], [0.1, 0.7], [0.5, 0.9])
  canvas.fill((x, y) => {
    const cloud = Math.max(0, noise.fractal(x / 55, y / 22) - 0.5) * 1.5
    return shade(gradient(sky, haze, 0, 130)(x, y), cloud)
  })
  const rock = random.colour([0.55, 1.1], [0.05, 0.3], [0.25, 0.42])
  for (let layer = 0; layer < 3; layer++) {
    const base = 70 + layer * 34
    const shift = random.range(0, 30)
    const ridge = Float32Array.from({ length: width }, (_, x) => {
      const peaks = 1 - Math.abs(2 * noise.at(x / 62 + shift, layer * 3.3) - 1)
      return base + 38 - peaks * (85 - layer * 18) - noise.fractal(x / 11 + shift, layer) * 14
    })
    const snowDepth = random.range(26, 44) - layer * 14
    const near = mix(haze, rock, 0.5 + layer * 0.25)
    canvas.fill((x, y) => {
      if (y < ridge[x]) return canvas.at(x, y)
      const relief = noise.fractal(x / 9 + shift, y / 16)
      const snow = y - ridge[x] < snowDepth * (relief + 0.35) && ridge[x] < base + 10
      return snow ? shade([0.97, 0.98, 1], -0.35 * relief) : shade(near, relief * 0.9 - 0.5)
    })
  }
}

function paintFlower({ canvas, random, noise }: Brush): void {
  const leaf = random.colour([0.2, 0.42], [0.25, 0.6], [0.15, 0.45])
  canvas.fill((x, y) => shade(leaf, noise.fractal(x / 45, y / 45, 2) - 0.5))
  const flowers = random.chance(0.6) ? 1 : random.integer(2, 3)
  const hue = random.range(0.55, 1.18)
  for (let i = 0; i < flowers; i++) {
    const size = random.range(46, 70) / (flowers === 1 ? 1 : 1.6)
    const x = flowers === 1 ? random.range(95, 145) : 50 + i * 75 + random.range(-12, 12)
    const y = random.range(70, 110)
    const stem = shade(leaf, 0.15)
    canvas.polygon(
      [
        [x - 3, y],
        [x + 3, y],
        [x + random.range(-20, 20), height + 60],
      ],
      stem,
    )
    const petal = hsl(hue + random.range(-0.04, 0.04), 0.8, random.range(0.5, 0.8))
    paintPetals(canvas, random, x, y, size, petal)
    const centre = random.colour([0.08, 0.16], [0.6, 0.9], [0.3, 0.55])
    canvas.circle(x, y, size * 0.24, (px, py) => shade(centre, noise.at(px / 2.5, py / 2.5) - 0.5))
  }
}

function paintPetals(
  canvas: Canvas,
  random: RandomStream,
  x: number,
  y: number,
  size: number,
  colour: Colour,
): void {
  const petals = random.integer(7, 15)
  const turn = random.range(0, Math.PI)
  for (let ring = 0; ring < 2; ring++) {
    const reach = size * (0.58 - ring * 0.14)
    for (let i = 0; i < petals; i++) {
      const angle = turn + ((i + ring / 2) * 2 * Math.PI) / petals
      const [cx, cy] = [x + reach * Math.cos(angle), y + reach * Math.sin(angle)]
      const tone = shade(colour, random.range(-0.22, 0.08) + ring * 0.1)
      const radial = (px: number, py: number): Colour =>
        shade(tone, 0.35 * (Math.hypot(px - x, py - y) / size) - 0.3)
      canvas.ellipse(cx, cy, reach * 0.72, (size * 2.1) / petals, radial, angle)
    }
  }
}

function paintBricks({ canvas, random, noise }: Brush): void {
  const mortar = random.colour([0, 1], [0, 0.12], [0.5, 0.85])
  canvas.fill((x, y) => shade(mortar, noise.fractal(x / 3, y / 3) * 0.5 - 0.3))
  const hue = random.range(-0.03, 0.1)
  const light = random.range(0.25, 0.6)
  const tall = random.range(13, 24)
  const wide = tall * random.range(2, 2.6)
  for (let row = 0; row * tall < height; row++) {
    for (let x = row % 2 ? -wide / 2 : 0; x < width; x += wide) {
      const tone = hsl(hue + random.range(-0.02, 0.02), random.range(0.25, 0.6), light)
      const brick = shade(tone, random.range(-0.2, 0.2))
      const surface = (px: number, py: number): Colour =>
        shade(brick, noise.fractal(px / 5, py / 4) * 0.7 - 0.35)
      canvas.rectangle(x + 1.5, row * tall + 1.5, wide - 3, tall - 3, surface)
    }
  }
}

function paintFish({ canvas, random, noise }: Brush): void {
  const water = random.colour([0.46, 0.64], [0.4, 0.85], [0.25, 0.6])
  const deep = shade(water, -0.6)
  canvas.fill((x, y) => {
    const rays = noise.at((x - y * 0.5) / 26, 0.5) * 0.3 * (1 - y / height)
    return shade(mix(water, deep, y / height), rays)
  })
  const sand = random.colour([0.08, 0.5], [0.15, 0.4], [0.35, 0.6])
  canvas.fill((x, y) => {
    if (y > 150 + 14 * noise.at(x / 40, 9)) return shade(sand, noise.fractal(x / 5, y / 3) - 0.55)
    return canvas.at(x, y)
  })
  const fish = random.integer(1, 3)
  for (let i = 0; i < fish; i++) {
    const size = random.range(38, 62) / (1 + 0.35 * (fish - 1))
    const x = fish === 1 ? random.range(90, 150) : 45 + (i * 150) / (fish - 1)
    paintOneFish(canvas, random, x, random.range(55, 125), size)
  }
  for (let i = random.integer(3, 12); i > 0; i--) {
    const radius = random.range(1.5, 4)
    canvas.circle(random.range(0, width), random.range(0, 150), radius, [0.9, 0.97, 1], 0.45)
  }
}

function paintOneFish(
  canvas: Canvas,
  random: RandomStream,
  x: number,
  y: number,
  size: number,
): void {
  const way = random.chance(0.5) ? 1 : -1
  const body = random.colour([0.98, 1.18], [0.7, 1], [0.45, 0.65])
  const band = random.chance(0.5) ? ([0.96, 0.96, 0.92] as Colour) : shade(body, -0.6)
  const fin = shade(body, -0.25)
  const tail: Point[] = [
    [x - way * size * 0.75, y],
    [x - way * size * 1.4, y - size * 0.5],
    [x - way * size * 1.2, y],
    [x - way * size * 1.4, y + size * 0.5],
  ]
  canvas.polygon(tail, fin)
  canvas.polygon(
    [
      [x + way * size * 0.4, y - size * 0.3],
      [x - way * size * 0.2, y - size * 0.78],
      [x - way * size * 0.6, y - size * 0.2],
    ],
    fin,
  )
  canvas.polygon(
    [
      [x, y + size * 0.3],
      [x - way * size * 0.3, y + size * 0.72],
      [x - way * size * 0.5, y + size * 0.2],
    ],
    fin,
  )
  const stripes = random.integer(2, 4)
  const plump = random.range(0.4, 0.55)
  canvas.ellipse(x, y, size, size * plump, (px, py) => {
    const along = ((px - x) * way) / size
    const striped = along < 0.55 && (along * stripes + 4.2) % 1 < 0.33
    return shade(striped ? band : body, 0.25 - ((py - y) / size) * 0.6)
  })
  canvas.circle(x + way * size * 0.68, y - size * 0.1, size * 0.1, [0.98, 0.98, 0.95])
  canvas.circle(x + way * size * 0.7, y - size * 0.1, size * 0.055, [0.05, 0.05, 0.08])
}

function paintBalloons({ canvas, random, noise }: Brush): void {
  const sky = random.colour([0.5, 1.15], [0.2, 0.8], [0.25, 0.8])
  canvas.fill((x, y) => {
    const cloud = Math.max(0, noise.fractal(x / 45, y / 25) - 0.48) * 2.2
    return shade(gradient(sky, shade(sky, 0.5))(x, y), Math.min(0.9, cloud))
  })
  const count = random.integer(1, 4)
  for (let i = 0; i < count; i++) {
    const size = random.range(30, 48) / (1 + 0.22 * (count - 1))
    const x = count === 1 ? random.range(85, 155) : 35 + (i * 170) / (count - 1)
    const y = random.range(45, 100)
    const a = random.colour([0, 1], [0.6, 1], [0.4, 0.6])
    const b = random.colour([0, 1], [0.6, 1], [0.6, 0.85])
    const gores = random.integer(4, 8)
    const skin = (px: number, py: number): Colour => {
      const across = (px - x) / Math.sqrt(Math.max(1, size * size - (py - y) ** 2 * 0.75))
      const panel = Math.floor(
        (Math.asin(Math.max(-1, Math.min(1, across))) / Math.PI + 0.5) * gores,
      )
      return shade(panel % 2 ? a : b, -0.35 * across - 0.1)
    }
    canvas.polygon(
      [
        [x - size * 0.86, y + size * 0.5],
        [x + size * 0.86, y + size * 0.5],
        [x + size * 0.2, y + size * 1.4],
        [x - size * 0.2, y + size * 1.4],
      ],
      skin,
    )
    canvas.circle(x, y, size, skin)
    const basket: Colour = [0.4, 0.26, 0.14]
    canvas.rectangle(x - size * 0.16, y + size * 1.6, size * 0.32, size * 0.24, basket)
    canvas.rectangle(x - size * 0.16, y + size * 1.4, 1, size * 0.2, basket)
    canvas.rectangle(x + size * 0.16 - 1, y + size * 1.4, 1, size * 0.2, basket)
  }
}
