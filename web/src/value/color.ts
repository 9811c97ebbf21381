/** Where output stands: `--surface-sunken` of each theme. */
export const GROUND = { light: '#f0f2f5', dark: '#11161e' } as const

const ENOUGH = 4.5

/** The contrast of WCAG 2.2 between two colors, written `#rrggbb`. */
export function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number]
  return (light + 0.05) / (dark + 0.05)
}

/** A color that somebody chose for another background, as near to it as can be read on this one. */
export function readable(color: string, ground: string): string {
  const target = luminance(ground) > 0.18 ? 0 : 255
  for (let part = 0; part <= 1; part += 0.05) {
    const mixed = mix(color, target, part)
    if (contrast(mixed, ground) >= ENOUGH) return mixed
  }
  return mix(color, target, 1)
}

function mix(color: string, target: number, part: number): string {
  const channels = channelsOf(color).map((channel) => Math.round(channel + (target - channel) * part))
  return `#${channels.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`
}

function luminance(color: string): number {
  const [red, green, blue] = channelsOf(color).map((value) => {
    const channel = value / 255
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4
  }) as [number, number, number]
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function channelsOf(color: string): number[] {
  return [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16))
}
