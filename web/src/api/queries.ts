import {
  infiniteQueryOptions,
  queryOptions,
  useInfiniteQuery,
  useQuery,
  useQueryClient,
  type InfiniteData,
  type QueryClient,
} from '@tanstack/vue-query'
import { computed, toValue, watch, type MaybeRef, type MaybeRefOrGetter } from 'vue'

import * as calls from './calls'
import type { RunFilter, TaskFilter } from './calls'
import { Problem } from './problem'
import { isActive } from './types'
import { zoneFor } from '@/preferences'
import { serverNow, setClock } from '@/time/clock'
import { dayAround } from '@/time/instant'
import { useAtTop } from '@/top'

/* What pages read, and how often they look again. Nobody looks while their window is hidden. */

/** How often what changes by itself is looked at again. */
const AT_ONCE = 1000
const SOON = 3000
export const LATER = 15_000

// All pages that somebody scrolled through are asked for again: the more there are, the less often, so that it costs no more than one.
function pagesOf(query: { state: { data?: { pages: unknown[] } | undefined } }): number {
  return Math.max(1, query.state.data?.pages.length ?? 0)
}

function overviewOf(zone: MaybeRef<string>) {
  return queryOptions({
    // "Today" begins where the times that are shown begin.
    queryKey: ['overview', zone],
    queryFn: async () => {
      const overview = await calls.overview(toValue(zone))
      setClock(overview.now)
      return overview
    },
  })
}

function timelineOf(from: MaybeRefOrGetter<string>, to: MaybeRefOrGetter<string>) {
  return infiniteQueryOptions({
    queryKey: ['timeline', from, to],
    queryFn: ({ pageParam }) => calls.timeline(toValue(from), toValue(to), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
  })
}

function tasksOf(filter: MaybeRef<TaskFilter>) {
  return infiniteQueryOptions({
    queryKey: ['tasks', filter],
    queryFn: ({ pageParam }) => calls.tasks(toValue(filter), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
  })
}

const series = queryOptions({ queryKey: ['series'], queryFn: calls.series })

/** Asks for what the first page shows, before the page itself is there. */
export function askAheadOfHome(queries: QueryClient): void {
  const { from, to } = dayAround(serverNow())
  void queries.prefetchQuery(overviewOf(zoneFor(null)))
  void queries.prefetchInfiniteQuery(timelineOf(from, to))
  void queries.prefetchQuery(series)
}

/** Asks for the tasks that a filter leaves, before their page is there. */
export function askAheadOfTasks(queries: QueryClient, filter: TaskFilter): void {
  void queries.prefetchInfiniteQuery(tasksOf(filter))
  void queries.prefetchQuery(overviewOf(zoneFor(null)))
}

export function useOverview() {
  return useQuery({ ...overviewOf(computed(() => zoneFor(null))), refetchInterval: SOON })
}

export function useTimeline(from: MaybeRefOrGetter<string>, to: MaybeRefOrGetter<string>) {
  const query = useInfiniteQuery({
    ...timelineOf(from, to),
    refetchInterval: (query) => LATER * pagesOf(query),
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
    ...tasksOf(computed(() => toValue(filter))),
    refetchInterval: (query) => (LATER / 2) * pagesOf(query),
    placeholderData: (before) => before,
  })
  return { ...query, items: computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? []) }
}

export function useTags() {
  return useQuery({ queryKey: ['tags'], queryFn: calls.tags, staleTime: LATER })
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
  const queries = useQueryClient()
  const isAtTop = useAtTop()
  const query = useInfiniteQuery({
    queryKey: ['runs', computed(() => toValue(filter))],
    queryFn: ({ pageParam }) => calls.runs(toValue(filter), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    // Somebody who reads far down is not moved about.
    refetchInterval: (query) => (pagesOf(query) > 1 && !isAtTop.value ? false : SOON * pagesOf(query)),
    placeholderData: (before) => before,
  })
  // Whoever comes back sees what is new, and begins again with one page.
  watch(isAtTop, (isBack) => {
    if (!isBack || (query.data.value?.pages.length ?? 0) < 2) return
    queries.setQueryData(['runs', toValue(filter)], firstPage)
    void query.refetch()
  })
  return { ...query, items: computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? []) }
}

function firstPage<Page, Param>(data: InfiniteData<Page, Param> | undefined) {
  return data && { pages: data.pages.slice(0, 1), pageParams: data.pageParams.slice(0, 1) }
}

export function useRun(id: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: ['run', computed(() => toValue(id))],
    queryFn: () => calls.run(toValue(id)),
    // Of a run that runs, the end is told by its output; many may look on.
    refetchInterval: (query) => {
      // A run that is not there does not come to be.
      if (query.state.error instanceof Problem && query.state.error.status === 404) return false
      const status = query.state.data?.run.status
      if (status === undefined || status === 'queued') return AT_ONCE
      return isActive(status) ? LATER / 3 : false
    },
  })
}

const DAY_MS = 86_400_000

/** What became of the instants of these last days, as they are when it is asked, and of the hour to come. */
export function useInstants(name: MaybeRefOrGetter<string>, days: MaybeRefOrGetter<number>) {
  const at = (ms: number) => new Date(serverNow() + ms).toISOString()
  const query = useInfiniteQuery({
    queryKey: ['instants', name, days],
    queryFn: ({ pageParam }) =>
      calls.instants(toValue(name), at(-toValue(days) * DAY_MS), at(DAY_MS / 24), pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    // Somebody who reads far down is not moved about.
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : SOON),
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
  return useQuery({ ...series, refetchInterval: LATER })
}

export function useScripts() {
  return useQuery({ queryKey: ['scripts'], queryFn: calls.scripts, refetchInterval: LATER })
}

export function useNodes() {
  return useQuery({ queryKey: ['nodes'], queryFn: calls.nodes, refetchInterval: SOON })
}
