import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { config, mount } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Router } from 'vue-router'

import { useRuns, useTasks } from '@/api/queries'
import RunTable from '@/components/RunTable.vue'
import RunsPage from '@/pages/RunsPage.vue'
import { setClock } from '@/time/clock'

let asked: URL[] = []

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-28T12:00:00Z') })
  setClock('2026-11-28T12:00:00Z')
  asked = []
  vi.stubGlobal('fetch', (request: Request) => {
    asked.push(new URL(request.url))
    const body = JSON.stringify({ items: [{}], next_cursor: 'more' })
    return Promise.resolve(new Response(body, { headers: { 'Content-Type': 'application/json' } }))
  })
})
afterEach(() => {
  scrollTo(0)
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

const SECOND = 1000
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

function scrollTo(y: number): void {
  vi.stubGlobal('scrollY', y)
  window.dispatchEvent(new Event('scroll'))
}

/** How often it is asked in a time. */
async function askedIn(ms: number): Promise<number> {
  const before = asked.length
  await pass(ms)
  return asked.length - before
}

function plugins(): [typeof VueQueryPlugin, object] {
  return [VueQueryPlugin, { queryClient: new QueryClient() }]
}

function follow<T>(query: () => T): T {
  let followed: T | undefined
  mount({ setup: () => ((followed = query()), () => null) }, { global: { plugins: [plugins()] } })
  return followed as T
}

describe('the run log', () => {
  it('stands still under somebody who reads far down, and goes on where it begins', async () => {
    const runs = follow(() => useRuns({}))
    await pass(0)
    expect(await askedIn(3 * SECOND)).toBe(1)
    scrollTo(3000)
    void runs.fetchNextPage()
    await pass(0)
    expect(runs.items.value).toHaveLength(2)
    expect(await askedIn(60 * SECOND)).toBe(0)
    scrollTo(0)
    expect(await askedIn(0)).toBe(1)
    expect(runs.items.value).toHaveLength(1)
    expect(await askedIn(3 * SECOND)).toBe(1)
  })

  it('shows the last hour by now, and asks a new question once in a minute at the most', async () => {
    const [, router] = config.global.plugins as [unknown, Router]
    await router.push('/runs?hours=1')
    const page = mount(RunsPage, { global: { plugins: [plugins()], stubs: { RunTable: true } } })
    const from = () => page.findComponent(RunTable).props('filter').from
    expect(from()).toBe('2026-11-28T11:00:00.000Z')
    await pass(59 * SECOND)
    expect(from()).toBe('2026-11-28T11:00:00.000Z')
    await pass(SECOND)
    expect(from()).toBe('2026-11-28T11:01:00.000Z')
    scrollTo(3000)
    await pass(120 * SECOND)
    expect(from()).toBe('2026-11-28T11:01:00.000Z')
    scrollTo(0)
    await pass(0)
    expect(from()).toBe('2026-11-28T11:03:00.000Z')
  })
})

describe('tasks that somebody scrolled through', () => {
  it('are asked for less often, the more there are', async () => {
    const tasks = follow(() => useTasks({}))
    await pass(0)
    const minutes = 5 * 60 * SECOND
    const ofOne = await askedIn(minutes)
    for (let page = 0; page < 9; page += 1) {
      void tasks.fetchNextPage()
      await pass(0)
    }
    expect(tasks.items.value).toHaveLength(10)
    expect(await askedIn(minutes)).toBeLessThanOrEqual(ofOne)
  })
})
