import { VueQueryPlugin } from '@tanstack/vue-query'
import { mount } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { defineComponent } from 'vue'

import { useRun } from '@/api/queries'
import RunTable from '@/components/RunTable.vue'

beforeEach(() => vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('a run', () => {
  const Looker = defineComponent({
    setup() {
      useRun(7)
      return () => null
    },
  })

  it.each([
    [404, false],
    [503, true],
  ])('that is refused with %i is looked for again: %s', async (status, isAskedAgain) => {
    let count = 0
    vi.stubGlobal('fetch', () => {
      count += 1
      return Promise.resolve(Response.json({ title: 'no' }, { status }))
    })
    const options = { queryClientConfig: { defaultOptions: { queries: { retry: false } } } }
    mount(Looker, { global: { plugins: [[VueQueryPlugin, options]] } })
    await vi.advanceTimersByTimeAsync(10_000)
    expect(count > 1).toBe(isAskedAgain)
  })
})

describe('a row of the run log', () => {
  it('says in its place what the run failed with', async () => {
    const row = {
      run_id: 1,
      task: 'a',
      status: 'failed',
      reason: 'raised',
      trigger: 'manual',
      attempt: 1,
      scheduled_for: '2026-11-28T12:00:00Z',
      return_value: null,
      error: { type: 'ValueError', message: 'no <b>hosts</b>' },
    }
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ items: [row], next_cursor: null })))
    const shown = mount(RunTable, { props: { filter: {} }, global: { plugins: [VueQueryPlugin] } })
    await vi.advanceTimersByTimeAsync(100)
    expect(shown.find('td[data-title=Value]').text()).toBe('ValueError: no <b>hosts</b>')
    expect(shown.find('td[data-title=Value] span').attributes('title')).toBe('ValueError: no <b>hosts</b>')
  })
})
