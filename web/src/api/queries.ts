import { useInfiniteQuery, useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'

import * as calls from './calls'
import type { RunFilter, TaskFilter } from './calls'
import { isActive } from './types'
import { zoneFor } from '@/preferences'
import { setClock } from '@/time/clock'

/* What pages read, and how often they look again. Nobody looks while their window is hidden. */

/** How often what changes by itself is looked at again. */
const AT_ONCE = 1000
const SOON = 3000
export const LATER = 15_000

export function useOverview() {
  return useQuery({
    // "Today" begins where the times that are shown begin.
    queryKey: ['overview', computed(() => zoneFor(null))],
    queryFn: async () => {
      const overview = await calls.overview(zoneFor(null))
      setClock(overview.now)
      return overview
    },
    refetchInterval: SOON,
  })
}

export function useTimeline(from: MaybeRefOrGetter<string>, to: MaybeRefOrGetter<string>) {
  const query = useInfiniteQuery({
    queryKey: ['timeline', from, to],
    queryFn: ({ pageParam }) => calls.timeline(toValue(from), toValue(to), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    refetchInterval: LATER,
    placeholderData: (before) => before,
  })
  const pages = computed(() => query.data.value?.pages ?? [])
  return {
    ...query,
    tasks: computed(() => pages.value.flatMap((page) => page.tasks)),
    isCut: computed(() => pages.value.some((page) => page.truncated)),
  }
}

export function useTasks(filter: MaybeRefOrGetter<TaskFilter>) {
  const query = useInfiniteQuery({
    queryKey: ['tasks', computed(() => toValue(filter))],
    queryFn: ({ pageParam }) => calls.tasks(toValue(filter), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    refetchInterval: LATER / 2,
    placeholderData: (before) => before,
  })
  return { ...query, items: computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? []) }
}

export function useTask(name: MaybeRefOrGetter<string>, every = SOON) {
  return useQuery({
    queryKey: ['task', computed(() => toValue(name))],
    queryFn: () => calls.task(toValue(name)),
    enabled: computed(() => toValue(name) !== ''),
    refetchInterval: every,
  })
}

export function useRuns(filter: MaybeRefOrGetter<RunFilter>) {
  const query = useInfiniteQuery({
    queryKey: ['runs', computed(() => toValue(filter))],
    queryFn: ({ pageParam }) => calls.runs(toValue(filter), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    // Somebody who reads far down is not moved about.
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : SOON),
    placeholderData: (before) => before,
  })
  return { ...query, items: computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? []) }
}

export function useRun(id: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: ['run', computed(() => toValue(id))],
    queryFn: () => calls.run(toValue(id)),
    // Of a run that runs, the end is told by its output; many may look on.
    refetchInterval: (query) => {
      const status = query.state.data?.run.status
      if (status === undefined || status === 'queued') return AT_ONCE
      return isActive(status) ? LATER / 3 : false
    },
  })
}

export function useInstants(
  name: MaybeRefOrGetter<string>,
  from: MaybeRefOrGetter<string>,
  to: MaybeRefOrGetter<string>,
) {
  const query = useInfiniteQuery({
    queryKey: ['instants', name, from, to],
    queryFn: ({ pageParam }) => calls.instants(toValue(name), toValue(from), toValue(to), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    placeholderData: (before) => before,
  })
  return { ...query, items: computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? []) }
}

export function useEvents(name: MaybeRefOrGetter<string>) {
  const query = useInfiniteQuery({
    queryKey: ['events', name],
    queryFn: ({ pageParam }) => calls.events(toValue(name), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
  })
  return { ...query, items: computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? []) }
}

export function useVersions(name: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['versions', name],
    queryFn: () => calls.versions(toValue(name)),
    refetchInterval: LATER,
  })
}

export function useEnvironments(task: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['environments', computed(() => toValue(task))],
    queryFn: () => calls.environments(toValue(task)),
    refetchInterval: SOON,
  })
}

export function useSeries() {
  return useQuery({ queryKey: ['series'], queryFn: calls.series, refetchInterval: LATER })
}

export function useScripts() {
  return useQuery({ queryKey: ['scripts'], queryFn: calls.scripts, refetchInterval: LATER })
}

export function useNodes() {
  return useQuery({ queryKey: ['nodes'], queryFn: calls.nodes, refetchInterval: SOON })
}
