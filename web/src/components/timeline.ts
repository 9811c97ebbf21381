import type { Status } from '@/api/types'

import { SEVERITY } from './status'

/** A run on the timeline. */
export interface TimelineRun {
  run_id: number
  scheduled_for: string
  finished_at?: string | null
  started_at?: string | null
  status: Status
}

/** What is drawn for one or more runs that would lie on each other. */
export interface Bar {
  /** Where it begins and how wide it is, in parts of the whole width. */
  from: number
  width: number
  status: Status
  count: number
  /** The run that gave the bar its color. */
  run: TimelineRun
}

/**
 * Runs as bars between two instants. Runs that are nearer to each other than `places` can show become one bar in the color of
 * the worst of them, so that a failure between a thousand successes is seen.
 */
export function bars(
  runs: readonly TimelineRun[],
  from: number,
  to: number,
  now: number,
  places: number,
): Bar[] {
  const span = to - from
  if (span <= 0 || places < 1) return []
  const smallest = 1 / places
  const placed = runs
    .map((run) => ({ run, begin: Date.parse(run.scheduled_for), end: endOf(run, now) }))
    .filter(({ begin, end }) => end >= from && begin <= to)
    .map(({ run, begin, end }) => {
      const left = Math.max(0, (begin - from) / span)
      const right = Math.min(1, (end - from) / span)
      return { run, left, width: Math.max(smallest, right - left) }
    })
    .sort((a, b) => a.left - b.left)

  const result: Bar[] = []
  for (const { run, left, width } of placed) {
    const last = result[result.length - 1]
    const isBeside = last !== undefined && left < last.from + last.width
    const isSmall = last !== undefined && last.width <= smallest * 2 && width <= smallest * 2
    if (last && isBeside && isSmall) {
      last.count += 1
      last.width = Math.min(Math.max(last.width, left + width - last.from), smallest * 2)
      if (severity(run.status) < severity(last.status)) {
        last.status = run.status
        last.run = run
      }
    } else {
      result.push({ from: left, width, status: run.status, count: 1, run })
    }
  }
  return result
}

/** Where instants to come lie, in parts of the whole width, at most one for each place. */
export function marks(instants: readonly string[], from: number, to: number, places: number): number[] {
  const taken = new Set<number>()
  for (const instant of instants) {
    const part = (Date.parse(instant) - from) / (to - from)
    if (part >= 0 && part <= 1) taken.add(Math.round(part * places))
  }
  return [...taken].sort((a, b) => a - b).map((place) => place / places)
}

/** Full hours between two instants, `every` hours apart in the zone's wall time. */
export function hours(from: number, to: number, every: number, hourOf: (at: number) => number): number[] {
  const hour = 3_600_000
  const found: number[] = []
  // Zones are off by quarters of an hour at the most.
  for (let at = Math.ceil(from / (hour / 4)) * (hour / 4); at <= to; at += hour / 4) {
    const wall = hourOf(at)
    if (Number.isInteger(wall) && wall % every === 0) found.push(at)
  }
  return found
}

function endOf(run: TimelineRun, now: number): number {
  if (run.finished_at) return Date.parse(run.finished_at)
  return run.status === 'running' ? now : Date.parse(run.scheduled_for)
}

function severity(status: Status): number {
  return SEVERITY.indexOf(status)
}
