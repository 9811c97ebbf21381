import type { Status } from '@/api/types'

/** How a status is drawn where there is room for a mark only. */
export interface StatusMark {
  /** A path in a box of 16 by 16. */
  path: string
  /** Whether the mark in a strip is an outline: nothing ran. */
  hollow: boolean
}

/** Each status has one shape, so that color is never the only thing that tells them apart. */
export const MARKS: Record<Status, StatusMark> = {
  queued: { path: 'M4 8h.01M8 8h.01M12 8h.01', hollow: true },
  running: { path: 'M5.5 4.2v7.6L12 8z', hollow: false },
  succeeded: { path: 'M3.8 8.4l2.9 2.9 5.6-6.2', hollow: false },
  failed: { path: 'M4.5 4.5l7 7M11.5 4.5l-7 7', hollow: false },
  timed_out: { path: 'M8 3.8V8l2.8 2', hollow: false },
  cancelled: { path: 'M5.2 5.2h5.6v5.6H5.2z', hollow: false },
  lost: { path: 'M6 6.1a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.4M8 11.7h.01', hollow: false },
  skipped: { path: 'M4 4.5L7.5 8 4 11.5M8.5 4.5L12 8l-3.5 3.5', hollow: true },
  missed: { path: 'M3.8 8h8.4', hollow: true },
}

/** Order of what should be seen first. */
export const SEVERITY: readonly Status[] = [
  'failed',
  'lost',
  'timed_out',
  'missed',
  'running',
  'queued',
  'cancelled',
  'skipped',
  'succeeded',
]
