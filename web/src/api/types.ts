/** How a run stands. */
export type Status =
  'queued' | 'running' | 'succeeded' | 'failed' | 'timed_out' | 'cancelled' | 'lost' | 'skipped' | 'missed'

export const STATUSES: readonly Status[] = [
  'queued',
  'running',
  'succeeded',
  'failed',
  'timed_out',
  'cancelled',
  'lost',
  'skipped',
  'missed',
]

export type Trigger = 'schedule' | 'catch_up' | 'backfill' | 'manual'
export const TRIGGERS: readonly Trigger[] = ['schedule', 'catch_up', 'backfill', 'manual']

/** Whether a run has still to end. */
export function isActive(status: Status): boolean {
  return status === 'queued' || status === 'running'
}

/** How a task stands, as lists can be filtered by it. */
export const STATES = [
  'failing',
  'problem',
  'running',
  'building',
  'queued',
  'ready',
  'manual',
  'paused',
  'disabled',
] as const
