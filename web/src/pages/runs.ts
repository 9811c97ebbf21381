import type { LocationQuery } from 'vue-router'

import type { RunFilter } from '@/api/calls'
import { STATUSES, TRIGGERS, type Status, type Trigger } from '@/api/types'
import { instantOf, localOf } from '@/time/instant'

/* Which runs the log shows, as fields, as a part of the address that can be passed on, and as the API asks for it. */

/** What somebody has chosen. */
export interface Choice {
  task: string
  statuses: Status[]
  trigger: Trigger | null
  /** The last so many hours; `between` for `from` and `to`; null for any time. */
  hours: string | null
  /** Wall times in the zone that is shown; empty: no bound. */
  from: string
  to: string
  /** Where the number stands in what was returned; with `min` or `max` and no path the value itself. */
  path: string
  min: string
  max: string
}

export const BETWEEN = 'between'

const HOUR = 3_600_000
const MINUTE = 60_000

/** What an address says; what it cannot mean is as if it were not there. */
export function choiceOf(query: LocationQuery, zone: string): Choice {
  const text = (key: string) => {
    const value = query[key]
    return typeof value === 'string' ? value : ''
  }
  const local = (key: string) => (Number.isNaN(Date.parse(text(key))) ? '' : localOf(text(key), zone))
  const [from, to] = [local('from'), local('to')]
  return {
    task: text('task'),
    statuses: STATUSES.filter((status) => text('status').split(',').includes(status)),
    trigger: TRIGGERS.find((trigger) => trigger === text('trigger')) ?? null,
    hours: from || to ? BETWEEN : Number(text('hours')) > 0 ? text('hours') : null,
    from,
    to,
    path: text('value'),
    min: numberOf(text('min')) === undefined ? '' : text('min'),
    max: numberOf(text('max')) === undefined ? '' : text('max'),
  }
}

/** The same as a part of the address. Times are instants there: whoever it is passed on to may be in another zone. */
export function queryOf(choice: Choice, zone: string): Record<string, string> {
  const isBetween = choice.hours === BETWEEN
  const query = {
    task: choice.task.trim(),
    status: choice.statuses.join(','),
    trigger: choice.trigger ?? '',
    hours: isBetween ? '' : (choice.hours ?? ''),
    from: (isBetween && instantOf(choice.from, zone)) || '',
    to: (isBetween && instantOf(choice.to, zone)) || '',
    value: choice.path.trim(),
    min: numberOf(choice.min) === undefined ? '' : choice.min.trim(),
    max: numberOf(choice.max) === undefined ? '' : choice.max.trim(),
  }
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ''))
}

/** The same as the API asks for it. `now` is taken to the minute: a bound that moves would be another question each time. */
export function filterOf(choice: Choice, zone: string, now: number): RunFilter {
  const query = queryOf(choice, zone)
  const hours = Number(query.hours)
  const from =
    hours > 0 ? new Date(Math.floor((now - hours * HOUR) / MINUTE) * MINUTE).toISOString() : query.from
  const [min, max] = [numberOf(choice.min), numberOf(choice.max)]
  const path = query.value ?? (min !== undefined || max !== undefined ? '' : undefined)
  return {
    ...(query.task ? { task: query.task } : {}),
    ...(query.status ? { status: query.status } : {}),
    ...(query.trigger ? { trigger: query.trigger } : {}),
    ...(from ? { from } : {}),
    ...(query.to ? { to: query.to } : {}),
    ...(path === undefined ? {} : { value_path: path }),
    ...(min === undefined ? {} : { value_min: min }),
    ...(max === undefined ? {} : { value_max: max }),
  }
}

function numberOf(text: string): number | undefined {
  const number = Number(text.trim())
  return text.trim() === '' || !Number.isFinite(number) ? undefined : number
}
