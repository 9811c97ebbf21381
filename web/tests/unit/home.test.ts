import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { mount } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import HomePage from '@/pages/HomePage.vue'
import { setClock } from '@/time/clock'

const NOW = '2026-11-28T12:00:00Z'
const COUNTS = { tasks: 1, paused: 0, problems: 0, running: 0, queued: 0, failed_today: 0, missed_today: 0 }

const all = () => ({
  overview: { now: NOW, counts: COUNTS, running: [], failed_today: [], missed_today: [], upcoming: [] },
  timeline: { tasks: [], next_cursor: null },
  series: { items: [] as unknown[] },
})

// What the server answers with; undefined: a failure.
let answers: Record<string, unknown> = {}

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse(NOW) })
  setClock(NOW)
  answers = all()
  vi.stubGlobal('fetch', (request: Request) => {
    const answer = answers[new URL(request.url).pathname.split('/').at(-1) ?? '']
    const failure = { title: 'Broken', detail: 'The database is away.' }
    return Promise.resolve(
      new Response(JSON.stringify(answer ?? failure), {
        status: answer ? 200 : 500,
        headers: { 'Content-Type': answer ? 'application/json' : 'application/problem+json' },
      }),
    )
  })
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

async function home() {
  const queryClient = new QueryClient({ defaultOptions: { queries: { retry: false } } })
  const page = mount(HomePage, { global: { plugins: [[VueQueryPlugin, { queryClient }]] } })
  await vi.advanceTimersByTimeAsync(0)
  return page
}

describe('the first page', () => {
  it('says that there is nothing where there is nothing', async () => {
    const page = await home()
    expect(page.findAll('[role=alert]')).toHaveLength(0)
    expect(page.text()).toContain('No run in these hours')
    expect(page.text()).toContain('Numbers that scripts return appear here.')
  })

  it('says what it could not learn, and not that there is nothing', async () => {
    answers = {}
    const page = await home()
    const notes = page.findAll('[role=alert]')
    expect(notes.map((note) => note.text())).toEqual(
      Array(3).fill(expect.stringContaining('The database is away.')),
    )
    expect(page.text()).not.toContain('No run in these hours')
    answers = all()
    for (const note of notes) await note.find('button').trigger('click')
    await vi.advanceTimersByTimeAsync(0)
    expect(page.findAll('[role=alert]')).toHaveLength(0)
  })

  it('shows first the values that somebody should look at', async () => {
    const one = (series: string, more = {}) => ({
      ...{ task: 'prices', series, recent: [], has_open: false, is_stale: false },
      ...more,
    })
    const plain = Array.from({ length: 30 }, (_, number) => one(`a${number}`))
    answers.series = { items: [...plain, one('odd', { has_open: true }), one('old', { is_stale: true })] }
    const page = await home()
    const cards = page.findAll('.card .name').map((name) => name.text())
    expect(cards).toHaveLength(24)
    expect(cards.slice(0, 3)).toEqual(['oddprices', 'oldprices', 'a0prices'])
  })

  it('says that its counts are old once they are', async () => {
    const page = await home()
    answers.overview = undefined
    await vi.advanceTimersByTimeAsync(3000)
    expect(page.findAll('[role=alert]')).toHaveLength(1)
    expect(page.find('.count').text()).toBe('1')
  })
})
