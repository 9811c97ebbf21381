/** A point of a small chart; `null` is a gap. */
export interface SparkPoint {
  at: number
  value: number | null
}

/** A point in the box of the chart. */
export interface Placed {
  x: number
  y: number
}

/**
 * Places points in a box: one list for each stretch without a gap. A line that never moves stands in the middle, and a single
 * point at the right end.
 */
export function place(points: SparkPoint[], width: number, height: number, margin = 2): Placed[][] {
  const known = points.filter((point) => point.value !== null && Number.isFinite(point.value))
  if (known.length === 0) return []
  let least = Infinity
  let most = -Infinity
  for (const point of known) {
    least = Math.min(least, point.value as number)
    most = Math.max(most, point.value as number)
  }
  const from = (points[0] as SparkPoint).at
  const to = (points[points.length - 1] as SparkPoint).at
  const x = (at: number) =>
    to === from ? width - margin : margin + ((at - from) / (to - from)) * (width - 2 * margin)
  const y = (value: number) =>
    most === least ? height / 2 : height - margin - ((value - least) / (most - least)) * (height - 2 * margin)

  const stretches: Placed[][] = []
  let stretch: Placed[] = []
  for (const point of points) {
    if (point.value === null || !Number.isFinite(point.value)) {
      if (stretch.length > 0) stretches.push(stretch)
      stretch = []
    } else {
      stretch.push({ x: x(point.at), y: y(point.value) })
    }
  }
  if (stretch.length > 0) stretches.push(stretch)
  return stretches
}
