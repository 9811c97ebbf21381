import { VueQueryPlugin } from '@tanstack/vue-query'
import { mount } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'

import type { Task } from '@/api/model'
import InstantsTab from '@/pages/task/InstantsTab.vue'

describe('the instants of a task', () => {
  it('are counted where a row stands for several', async () => {
    vi.useFakeTimers()
    const rows = [1, 3].map((count) => ({
      run_id: count,
      at: '2026-11-28T11:59:59Z',
      until: '2026-11-28T12:09:59Z',
      status: 'missed',
      reason: 'down',
      attempt: 1,
      count,
    }))
    vi.stubGlobal('fetch', () =>
      Promise.resolve(Response.json({ items: rows, to_come: [], next_cursor: null })),
    )
    const shown = mount(InstantsTab, {
      props: { task: { name: 'a', timezone: 'UTC' } as Task },
      global: { plugins: [VueQueryPlugin] },
    })
    await vi.advanceTimersByTimeAsync(100)
    const [one, three] = shown.findAll('tbody tr').map((row) => row.text())
    expect(one).not.toContain('instants until')
    expect(three).toMatch(/no service was running\s+3 instants until/)
  })

  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  it('are looked at again, of hours that go along', async () => {
    vi.useFakeTimers({ now: Date.parse('2026-11-28T12:00:00Z') })
    let status = 'queued'
    const asked: URLSearchParams[] = []
    vi.stubGlobal('fetch', (request: Request) => {
      asked.push(new URL(request.url).searchParams)
      const row = { run_id: 1, at: '2026-11-28T11:59:59Z', status, reason: null, attempt: 1, count: 1 }
      return Promise.resolve(Response.json({ items: [row], to_come: [], next_cursor: null }))
    })
    const shown = mount(InstantsTab, {
      props: { task: { name: 'a', timezone: 'UTC' } as Task },
      global: { plugins: [VueQueryPlugin] },
    })
    await vi.advanceTimersByTimeAsync(100)
    expect(shown.find('tbody').text()).toContain('queued')
    expect(asked[0]?.get('from')?.slice(0, 16)).toBe('2026-11-27T12:00')
    expect(asked[0]?.get('to')?.slice(0, 16)).toBe('2026-11-28T13:00')
    status = 'succeeded'
    await vi.advanceTimersByTimeAsync(60_000)
    expect(shown.find('tbody').text()).toContain('succeeded')
    expect(asked.at(-1)?.get('to')?.slice(0, 16)).toBe('2026-11-28T13:01')
  })
})
