import type { LocationQuery } from 'vue-router'

import type { TaskFilter } from '@/api/calls'

/** Which tasks an address asks for. */
export function taskFilterOf(query: LocationQuery): TaskFilter {
  return {
    ...textOf(query, 'search'),
    ...textOf(query, 'tag'),
    ...textOf(query, 'status'),
  }
}

function textOf(query: LocationQuery, key: keyof TaskFilter): TaskFilter {
  const value = query[key]
  return typeof value === 'string' && value !== '' ? { [key]: value } : {}
}
