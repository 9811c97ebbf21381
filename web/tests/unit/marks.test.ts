import { mount } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'

import type { Chart } from '@/api/model'
import { STATUSES } from '@/api/types'
import { chartOption, data } from '@/components/chart'
import DayTimeline from '@/components/DayTimeline.vue'
import RunStrip from '@/components/RunStrip.vue'
import Sparkline from '@/components/Sparkline.vue'
import { place } from '@/components/sparkline'
import { MARKS, SEVERITY } from '@/components/status'
import { bars, hours, marks } from '@/components/timeline'

const FROM = Date.parse('2026-11-28T00:00:00Z')
const TO = Date.parse('2026-11-29T00:00:00Z')

function run(
  run_id: number,
  at: string,
  status: (typeof STATUSES)[number],
  finished_at: string | null = null,
) {
  return {
    run_id,
    scheduled_for: `2026-11-28T${at}Z`,
    status,
    finished_at: finished_at && `2026-11-28T${finished_at}Z`,
  }
}

describe('a status', () => {
  it('has a shape that no other has, and a place among the others', () => {
    expect(new Set(STATUSES.map((status) => MARKS[status].path)).size).toBe(STATUSES.length)
    expect([...SEVERITY].sort()).toEqual([...STATUSES].sort())
  })
})

describe('a strip of runs', () => {
  it('has a mark for each run and says what they were', () => {
    const strip = mount(RunStrip, {
      props: {
        runs: [
          run(1, '01:00:00', 'succeeded'),
          run(2, '02:00:00', 'missed'),
          run(3, '03:00:00', 'succeeded'),
        ],
      },
    })
    expect(strip.findAll('[data-status]').map((mark) => mark.attributes('data-status'))).toEqual([
      'succeeded',
      'missed',
      'succeeded',
    ])
    expect(strip.attributes('aria-label')).toBe('Recent runs: 2 succeeded, 1 missed')
    expect(strip.find('[data-status=missed]').attributes('fill')).toBe('none')
  })

  it('shows the newest, at the right end', () => {
    const runs = Array.from({ length: 25 }, (_, index) => run(index, '01:00:00', 'succeeded'))
    const strip = mount(RunStrip, { props: { runs, places: 20 } })
    expect(strip.findAll('[data-status]')).toHaveLength(20)
    const one = mount(RunStrip, { props: { runs: runs.slice(0, 1), places: 20 } })
    expect(Number(one.find('[data-status]').attributes('x'))).toBe(19 * 8)
  })

  it('says what a run was when somebody points at it', async () => {
    const runs = [run(1, '06:00:00', 'failed'), run(2, '07:00:00', 'missed')]
    const strip = mount(RunStrip, { props: { runs, zone: 'UTC' } })
    expect(strip.find('title').exists()).toBe(false)
    await strip.findAll('[data-status]')[1]?.trigger('mouseover')
    expect(strip.find('title').text()).toMatch(/07:00.* · missed/)
  })
})

describe('a small chart', () => {
  it('leaves gaps as gaps', () => {
    const points = [1, 2, null, 4].map((value, at) => ({ at, value }))
    expect(place(points, 100, 20).map((stretch) => stretch.length)).toEqual([2, 1])
    const chart = mount(Sparkline, { props: { points, label: 'price' } })
    expect(chart.findAll('path.line')).toHaveLength(2)
    expect(chart.attributes('aria-label')).toBe('price')
  })

  it('stands in the middle if nothing moves, and within its box if it does', () => {
    expect(
      place(
        [
          { at: 0, value: 5 },
          { at: 1, value: 5 },
        ],
        100,
        20,
      )
        .flat()
        .map((point) => point.y),
    ).toEqual([10, 10])
    for (const point of place(
      [
        { at: 0, value: -5 },
        { at: 1, value: 1e9 },
      ],
      100,
      20,
    ).flat()) {
      expect(point.x).toBeGreaterThanOrEqual(2)
      expect(point.x).toBeLessThanOrEqual(98)
      expect(point.y).toBeGreaterThanOrEqual(2)
      expect(point.y).toBeLessThanOrEqual(18)
    }
  })

  it('draws nothing of nothing', () => {
    expect(place([], 100, 20)).toEqual([])
    expect(place([{ at: 0, value: null }], 100, 20)).toEqual([])
  })
})

describe('the timeline', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('places runs by when they were and how long they took', () => {
    const [bar] = bars([run(1, '06:00:00', 'succeeded', '12:00:00')], FROM, TO, TO, 200)
    expect(bar).toMatchObject({ from: 0.25, width: 0.25, status: 'succeeded', count: 1 })
  })

  it('draws a run that goes on up to now', () => {
    const [bar] = bars([run(1, '06:00:00', 'running')], FROM, TO, Date.parse('2026-11-28T18:00:00Z'), 200)
    expect(bar?.width).toBeCloseTo(0.5)
  })

  it('puts runs together that would lie on each other, in the color of the worst', () => {
    const runs = Array.from({ length: 60 }, (_, minute) =>
      run(minute, `06:${String(minute).padStart(2, '0')}:00`, minute === 30 ? 'failed' : 'succeeded'),
    )
    const found = bars(runs, FROM, TO, TO, 100)
    expect(found.length).toBeLessThan(10)
    expect(found.reduce((sum, bar) => sum + bar.count, 0)).toBe(60)
    expect(found.filter((bar) => bar.status === 'failed').map((bar) => bar.run.run_id)).toEqual([30])
  })

  it('leaves out what is not within', () => {
    expect(
      bars(
        [{ ...run(1, '00:00:00', 'succeeded'), scheduled_for: '2026-11-27T01:00:00Z' }],
        FROM,
        TO,
        TO,
        100,
      ),
    ).toEqual([])
  })

  it('has one mark for fire times that are at the same place', () => {
    const instants = [
      '2026-11-28T12:00:00Z',
      '2026-11-28T12:00:01Z',
      '2026-11-28T18:00:00Z',
      '2026-11-29T12:00:00Z',
    ]
    expect(marks(instants, FROM, TO, 100)).toEqual([0.5, 0.75])
  })

  it('has its hours at full hours of a zone that is off by a quarter', () => {
    const nepal = (at: number) => (((at / 3_600_000 + 5.75) % 24) + 24) % 24
    const found = hours(FROM, TO, 6, nepal)
    expect(found.map((at) => new Date(at).toISOString().slice(11, 16))).toEqual([
      '00:15',
      '06:15',
      '12:15',
      '18:15',
    ])
  })

  it('says when the last of its tasks come near', () => {
    const tasks = (count: number) =>
      Array.from({ length: count }, (_, number) => ({ name: `task${number}`, runs: [], fires: [] }))
    const of = (count: number) =>
      mount(DayTimeline, {
        props: { from: new Date(FROM).toISOString(), to: new Date(TO).toISOString(), tasks: tasks(count) },
      })
    expect(of(200).emitted('nearEnd')).toBeUndefined()
    expect(of(20).emitted('nearEnd')).toHaveLength(1)
  })

  it('says of each task what it did, and of each run when somebody points at it', async () => {
    // Which rows are in sight is a matter of layout, which this document has none of.
    vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(400)
    const timeline = mount(DayTimeline, {
      props: {
        from: new Date(FROM).toISOString(),
        to: new Date(TO).toISOString(),
        tasks: [
          {
            name: 'prices/btc',
            runs: [run(1, '06:00:00', 'failed'), run(2, '07:00:00', 'succeeded')],
            fires: [],
          },
        ],
      },
    })
    await nextTick()
    expect(timeline.find('[role=listitem]').attributes('aria-label')).toBe(
      'prices/btc: 1 failed, 1 succeeded',
    )
    expect(timeline.findAll('.bar').map((bar) => bar.attributes('data-status'))).toEqual([
      'failed',
      'succeeded',
    ])
    const bar = timeline.find('.bar')
    expect(bar.attributes('href')).toMatch(/#\/runs\/1$/)
    expect(bar.attributes('title')).toBeUndefined()
    await bar.trigger('mouseover')
    expect(bar.attributes('title')).toContain('failed')
    expect(timeline.find('.name').attributes('href')).toContain('#/tasks/prices%2Fbtc')
  })
})

describe('a chart', () => {
  it('has what failed at its foot, whatever numbers there are', () => {
    const points = {
      points: [{ at: '2026-11-28T00:00:00Z', value: 5 }],
      failures: [{ at: '2026-11-28T01:00:00Z', run_id: 7 }],
      versions: [],
    } as unknown as Chart
    const option = chartOption({
      series: [{ label: 'a', points }],
      scale: 'shared',
      fromZero: false,
      color: (name) => name,
      formatAt: String,
      formatAxis: String,
      words: { failure: '', version: '', band: '', gap: '' },
    })
    const axes = option.yAxis as { min?: number; show?: boolean }[]
    const failed = (
      option.series as { type: string; yAxisIndex: number; data: { value: number[] }[] }[]
    ).find((series) => series.type === 'scatter')
    expect(axes[failed?.yAxisIndex ?? -1]).toMatchObject({ min: 0, show: false })
    expect(failed?.data[0]?.value[1]).toBe(0)
  })

  it('has no line across an instant that failed or was missed, and a mark for what then stands alone', () => {
    const at = (hour: number) => `2026-11-28T0${hour}:00:00Z`
    const points = {
      points: [1, 2, 4, 6, 7].map((hour) => ({ at: at(hour), value: hour })),
      // The second was tried again, and succeeded.
      failures: [3, 2, 5, 8].map((hour, run_id) => ({ at: at(hour), run_id, status: 'failed' })),
      versions: [],
    } as unknown as Chart
    const drawn = data(points, 'shared')
    expect(drawn.map(({ value }) => value[1])).toEqual([1, 2, null, 4, null, 6, 7])
    expect(drawn.flatMap((datum) => (datum.symbol ? [datum.value[1]] : []))).toEqual([4])
    const whole = data({ ...points, failures: [] }, 'shared')
    expect(whole.map(({ value }) => value[1])).toEqual([1, 2, 4, 6, 7])
  })
})
