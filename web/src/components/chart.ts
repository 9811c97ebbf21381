import { LineChart, ScatterChart } from 'echarts/charts'
import {
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  MarkAreaComponent,
  MarkLineComponent,
  TooltipComponent,
} from 'echarts/components'
import * as echarts from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'
import type { EChartsCoreOption } from 'echarts/core'

import type { Chart, ChartPoint } from '@/api/model'
import { isRecord } from '@/value/json'
import { formatNumber } from '@/value/number'

/* The pieces of ECharts that are used, and what of points they draw. */

echarts.use([
  LineChart,
  ScatterChart,
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  MarkAreaComponent,
  MarkLineComponent,
  TooltipComponent,
  CanvasRenderer,
])

export { echarts }

/** A series as it is charted. */
export interface Charted {
  /** What it is called in the legend. */
  label: string
  points: Chart
}

/** How several series stand beside each other. */
export type Scale = 'shared' | 'own' | 'relative'

/** What the chart is to show, and how. */
export interface ChartWish {
  series: readonly Charted[]
  scale: Scale
  fromZero: boolean
  /** The color of a name of tokens.css. */
  color: (name: string) => string
  formatAt: (at: number) => string
  formatAxis: (at: number) => string
  words: { failure: string; version: string; band: string; gap: string }
}

/** One place of a chart that can be pointed at, or chosen. */
export interface ChartDatum {
  value: [number, number | null]
  kind: 'point' | 'failure'
  point?: ChartPoint
  run_id?: number | null
  symbol?: string
  symbolSize?: number
  itemStyle?: Record<string, unknown>
}

const COLORS = 8
// What failed has no number: it stands at the foot of the chart, whatever numbers there are.
const FOOT = { type: 'value', show: false, min: 0, max: 1 }

/** The color of the n-th series. */
export function seriesColor(index: number): string {
  return `series-${(index % COLORS) + 1}`
}

/** Whether a point is drawn hollow: something is odd about it, or somebody rejected it. */
export function isHollow(point: ChartPoint): boolean {
  return point.verdict === 'rejected' || (!!point.suspect && point.verdict !== 'accepted')
}

/** The options of ECharts for some series. */
export function chartOption(wish: ChartWish): EChartsCoreOption {
  const ink = wish.color('ink')
  const muted = wish.color('ink-muted')
  const line = wish.color('line')
  const isMany = wish.series.length > 1
  const axes = wish.scale === 'own' && isMany ? wish.series.length : 1
  return {
    animation: false,
    textStyle: { color: ink, fontFamily: 'inherit' },
    grid: {
      left: 12,
      right: 12 + Math.max(0, axes - 2) * 56,
      top: isMany ? 44 : 24,
      bottom: 64,
      containLabel: true,
    },
    ...(isMany
      ? {
          legend: {
            top: 0,
            left: 0,
            textStyle: { color: ink },
            icon: 'roundRect',
            itemHeight: 3,
            itemWidth: 16,
          },
        }
      : {}),
    tooltip: { trigger: 'item', confine: true, appendTo: undefined },
    dataZoom: [
      { type: 'inside', filterMode: 'none' },
      {
        type: 'slider',
        filterMode: 'none',
        height: 24,
        bottom: 8,
        borderColor: line,
        textStyle: { color: muted },
        fillerColor: wish.color('accent-soft'),
        labelFormatter: (at: number) => wish.formatAt(at),
      },
    ],
    xAxis: {
      type: 'time',
      axisLine: { lineStyle: { color: line } },
      axisLabel: { color: muted, hideOverlap: true, formatter: (at: number) => wish.formatAxis(at) },
      splitLine: { show: false },
    },
    yAxis: [
      ...Array.from({ length: axes }, (_, index) => ({
        type: 'value',
        scale: !wish.fromZero,
        position: index === 0 ? 'left' : 'right',
        offset: Math.max(0, index - 1) * 56,
        name: index === 0 || axes > 1 ? unit(wish, index) : '',
        nameTextStyle: { color: muted, align: index === 0 ? 'left' : 'right' },
        axisLabel: {
          color: axes > 1 ? wish.color(seriesColor(index)) : muted,
          formatter: (value: number) => `${formatNumber(value)}${wish.scale === 'relative' ? ' %' : ''}`,
        },
        splitLine: { show: index === 0, lineStyle: { color: line } },
      })),
      FOOT,
    ],
    series: wish.series.flatMap((charted, index) => drawn(wish, charted, index, axes > 1 ? index : 0, axes)),
  }
}

/** The places of a series: numbers where they are, and a hole where one was missing, or the task failed or did not run. */
export function data(points: Chart, scale: Scale, hollow: Record<string, unknown> = {}): ChartDatum[] {
  const base =
    scale === 'relative'
      ? points.points.find((point) => point.value != null && point.value !== 0)?.value
      : undefined
  const places: ChartDatum[] = []
  const failures = points.failures.map((failure) => Date.parse(failure.at)).sort((one, other) => one - other)
  let next = 0
  for (const point of points.points) {
    const at = Date.parse(point.at)
    const before = places.at(-1)?.value[0] ?? -Infinity
    while ((failures[next] ?? Infinity) <= before) next += 1
    const failure = failures[next]
    if (failure !== undefined && failure < at) places.push({ value: [failure, null], kind: 'point' })
    places.push({
      value: [at, relative(point.value ?? null, base)],
      kind: 'point',
      point,
      run_id: point.run_id,
      ...(isHollow(point) ? { symbol: 'circle', symbolSize: 9, itemStyle: hollow } : {}),
    })
  }
  // No line leads to what stands alone: it needs a mark.
  const isAlone = (index: number) =>
    places[index - 1]?.value[1] == null && places[index + 1]?.value[1] == null
  return places.map((datum, index) =>
    datum.value[1] !== null && !datum.symbol && isAlone(index)
      ? { ...datum, symbol: 'circle', symbolSize: 4 }
      : datum,
  )
}

function relative(value: number | null, base: number | null | undefined): number | null {
  return value === null || base === null || base === undefined
    ? value
    : ((value - base) / Math.abs(base)) * 100
}

function unit(wish: ChartWish, index: number): string {
  if (wish.scale === 'relative') return ''
  if (wish.scale === 'own') return wish.series[index]?.points.unit ?? ''
  const units = new Set(wish.series.map((charted) => charted.points.unit ?? ''))
  return units.size === 1 ? ([...units][0] ?? '') : ''
}

function drawn(
  wish: ChartWish,
  charted: Charted,
  index: number,
  axis: number,
  foot: number,
): Record<string, unknown>[] {
  const color = wish.color(seriesColor(index))
  const { points } = charted
  const isAlone = wish.series.length === 1
  const failed = wish.color('failed')
  const few = points.points.length <= 200
  return [
    {
      type: 'line',
      name: charted.label,
      yAxisIndex: axis,
      data: data(points, wish.scale, { color: wish.color('surface'), borderColor: color, borderWidth: 2 }),
      connectNulls: false,
      showSymbol: true,
      // Only what is hollow has a mark of its own where there are many points.
      symbol: few ? 'circle' : 'none',
      symbolSize: 5,
      showAllSymbol: true,
      lineStyle: { color: color, width: 1.75 },
      itemStyle: { color: color },
      emphasis: { focus: 'none', scale: 1.6 },
      ...(isAlone ? { areaStyle: { color: color, opacity: 0.06 } } : {}),
      ...(isAlone && hasBand(points) && wish.scale === 'shared' ? { markArea: band(wish, points) } : {}),
      ...(isAlone && points.versions.length > 0 ? { markLine: versions(wish, points) } : {}),
    },
    {
      type: 'scatter',
      name: charted.label,
      yAxisIndex: foot,
      data: points.failures.map((failure): ChartDatum => ({
        value: [Date.parse(failure.at), 0],
        kind: 'failure',
        run_id: failure.run_id,
      })),
      symbol: 'path://M2,2 L14,14 M14,2 L2,14',
      symbolSize: 8,
      itemStyle: { color: 'transparent', borderColor: failed, borderWidth: 2, opacity: 1 },
      z: 5,
    },
  ]
}

function hasBand(points: Chart): boolean {
  const { min, max } = expected(points)
  return min !== undefined || max !== undefined
}

/** The bounds that the header gives for a series. */
export function expected(points: Chart): { min?: number; max?: number } {
  const { min, max } = isRecord(points.expectation) ? points.expectation : {}
  return {
    ...(min === undefined || min === null ? {} : { min: Number(min) }),
    ...(max === undefined || max === null ? {} : { max: Number(max) }),
  }
}

function band(wish: ChartWish, points: Chart): Record<string, unknown> {
  const { min, max } = expected(points)
  return {
    silent: true,
    itemStyle: { color: wish.color('succeeded'), opacity: 0.07 },
    data: [[{ yAxis: min ?? 'min', name: wish.words.band }, { yAxis: max ?? 'max' }]],
    label: { color: wish.color('ink-muted'), position: 'insideTopLeft', fontSize: 11 },
  }
}

function versions(wish: ChartWish, points: Chart): Record<string, unknown> {
  return {
    silent: false,
    symbol: 'none',
    lineStyle: { color: wish.color('ink-muted'), type: 'dashed', width: 1 },
    label: { show: false },
    data: points.versions.map((version) => ({
      xAxis: Date.parse(version.at),
      name: `${wish.words.version} ${version.sha256.slice(0, 12)}`,
    })),
  }
}
