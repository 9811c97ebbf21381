import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { config, flushPromises, mount } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import type { Router } from 'vue-router'

import type { Chart, ChartPoint } from '@/api/model'
import SeriesChart from '@/components/SeriesChart.vue'
import SeriesPanel from '@/components/SeriesPanel.vue'
import SeriesPage from '@/pages/SeriesPage.vue'
import { setClock } from '@/time/clock'

const chart = vi.hoisted(() => ({
  on: vi.fn(),
  setOption: vi.fn(),
  getOption: vi.fn((): unknown => undefined),
  resize: vi.fn(),
  dispose: vi.fn(),
}))
vi.mock('@/components/chart', async (original) => ({
  ...(await original<object>()),
  echarts: { init: () => chart },
}))
// Its messages need a place on the page.
vi.mock('@/actions', () => ({ useActions: () => ({}) }))

const at = (minute: number) => `2026-11-28T12:0${minute}:00Z`

function points(...values: number[]): Chart {
  return {
    points: values.map((value, minute) => ({
      at: at(minute),
      value,
      run_id: minute,
      suspect: value > 100 ? 'far from the others' : null,
    })),
    failures: [],
    versions: [],
    unit: null,
  } as unknown as Chart
}

beforeEach(() => vi.clearAllMocks())

describe('the chart of a series', () => {
  it('is drawn anew for other points, not for the same ones', async () => {
    const first = points(1, 2)
    const shown = mount(SeriesChart, { props: { series: [{ label: 'a', points: first }] } })
    expect(chart.setOption).toHaveBeenCalledTimes(1)
    await shown.setProps({ series: [{ label: 'a', points: first }] })
    await nextTick()
    expect(chart.setOption).toHaveBeenCalledTimes(1)
    await shown.setProps({ series: [{ label: 'a', points: points(1, 2, 3) }] })
    await nextTick()
    expect(chart.setOption).toHaveBeenCalledTimes(2)
  })

  it('stays where somebody zoomed to, and at its end if it was there', async () => {
    const shown = mount(SeriesChart, { props: { series: [{ label: 'a', points: points(1, 2) }] } })
    chart.getOption.mockReturnValue({ dataZoom: [{ start: 40, end: 100, startValue: 7, endValue: 9 }] })
    await shown.setProps({ series: [{ label: 'a', points: points(1, 2, 3) }] })
    await nextTick()
    const [option] = chart.setOption.mock.lastCall as [{ dataZoom: Record<string, unknown>[] }]
    for (const zoom of option.dataZoom) {
      expect(zoom.startValue).toBe(7)
      expect(zoom).not.toHaveProperty('endValue')
    }
  })
})

describe('the series that were chosen', () => {
  const NAMES = ['prices/btc', 'prices/eth']
  let asked: string[] = []
  beforeEach(() => {
    asked = []
    vi.stubGlobal('fetch', (request: Request) => {
      asked.push(request.url)
      const all = NAMES.map((task) => ({ task, series: 'price', recent: [] }))
      const isList = request.url.endsWith('/series')
      const body = JSON.stringify(isList ? { items: all } : { ...points(1, 500, 3), downsampled_from: 9 })
      return Promise.resolve(new Response(body, { headers: { 'Content-Type': 'application/json' } }))
    })
  })
  afterEach(() => {
    vi.unstubAllGlobals()
    vi.useRealTimers()
  })

  async function panel(names: { task: string; series: string }[]) {
    const queryClient = new QueryClient({ defaultOptions: { queries: { shallow: true } } as object })
    const shown = mount(SeriesPanel, {
      props: { names },
      global: { plugins: [[VueQueryPlugin, { queryClient }]], stubs: { SeriesChart: true } },
    })
    await vi.waitFor(async () => {
      await flushPromises()
      expect(shown.findComponent(SeriesChart).props('series')).toHaveLength(names.length)
    })
    return shown
  }
  const dialog = () => document.querySelector('[role=dialog]')?.textContent

  it('open the point that is clicked, of which the chart has a copy', async () => {
    const shown = await panel([
      { task: 'prices/btc', series: 'price' },
      { task: 'prices/eth', series: 'price' },
    ])
    const copy = structuredClone(points(1, 500, 3).points[1]) as ChartPoint
    shown.findComponent(SeriesChart).vm.$emit('choose', 'prices/eth · price', copy)
    await nextTick()
    expect(dialog()).toContain('prices/eth · price: 500')
    expect(dialog()).toContain('far from the others')
  })

  it('open a point by its click though the list leaves it out', async () => {
    const shown = await panel([{ task: 'prices/btc', series: 'price' }])
    await shown.findAll('[role=checkbox]')[1]?.trigger('click')
    expect(shown.findAll('.row-line')).toHaveLength(1)
    const copy = structuredClone(points(1, 500, 3).points[0]) as ChartPoint
    shown.findComponent(SeriesChart).vm.$emit('choose', 'price', copy)
    await nextTick()
    expect(dialog()).toContain('prices/btc · price: 1')
  })

  it('keep their time when another joins them, and say whose points are not all shown', async () => {
    const [, router] = config.global.plugins as [unknown, Router]
    await router.push({ name: 'series', query: { s: ['prices/btc:price'] } })
    const queryClient = new QueryClient()
    const page = mount(SeriesPage, {
      global: { plugins: [[VueQueryPlugin, { queryClient }]], stubs: { SeriesChart: true } },
    })
    await vi.waitFor(() => expect(page.text()).toContain('Shown: 3 of 9 points.'))
    await page.find('input[type=radio][value=year]').setValue()
    await router.push({ name: 'series', query: { s: NAMES.map((name) => `${name}:price`) } })
    await vi.waitFor(() => expect(page.text()).toContain('prices/eth · price: 3 of 9 points.'))
    expect(page.find<HTMLInputElement>('input[type=radio][value=year]').element.checked).toBe(true)
    expect(page.findAll('a[download]').map((link) => link.text())).toEqual([
      'CSV prices/btc · price',
      'CSV prices/eth · price',
    ])
  })

  it('are of the last so many days, by now', async () => {
    vi.useFakeTimers({ now: Date.parse('2026-11-28T12:00:00Z') })
    setClock('2026-11-28T12:00:00Z')
    await panel([{ task: 'prices/btc', series: 'price' }])
    const from = () => new URL(asked.at(-1) ?? '').searchParams.get('from')
    const first = from()
    expect(first).toMatch(/^2026-10-29T1[12]:/)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(asked).toHaveLength(2)
    expect(from()).toBe(first)
    vi.setSystemTime(Date.parse('2026-11-28T14:00:00Z'))
    await vi.advanceTimersByTimeAsync(10_000)
    expect(from()).toMatch(/^2026-10-29T1[34]:/)
  })
})
