import { QUARTER, serverNow } from './clock'

/** How much of an instant is shown. */
export type InstantStyle = 'short' | 'full' | 'time' | 'date'

interface Parts {
  year: string
  month: string
  day: string
  hour: string
  minute: string
  second: string
}

const DAY = 86_400_000
// A formatter costs a browser more than a thousand dates that it writes.
const formatters = new Map<string, Intl.DateTimeFormat | undefined>()
let zoneOfBrowser: string | undefined

/** The zone of this browser, as it was when the page was opened. */
export function browserZone(): string {
  if (zoneOfBrowser === undefined) {
    const formatter = newFormatter()
    zoneOfBrowser = formatter.resolvedOptions().timeZone
    formatters.set(zoneOfBrowser, formatter)
  }
  return zoneOfBrowser
}

/** Whether the browser knows a zone by this name. */
export function isZone(zone: string): boolean {
  return formatterOf(zone) !== undefined
}

/**
 * An instant in a zone. `short` leaves out what today's date says already: `14:05:09`, `11-27 14:05`, `2025-11-27 14:05`.
 * Digits stand in the same order in every language, so that columns of instants align and sort by eye.
 */
export function formatInstant(
  instant: number | string,
  zone: string,
  style: InstantStyle = 'short',
  now = serverNow(),
): string {
  const at = typeof instant === 'string' ? Date.parse(instant) : instant
  if (Number.isNaN(at)) return String(instant)
  const parts = partsIn(at, zone)
  const time = `${parts.hour}:${parts.minute}`
  const date = `${parts.year}-${parts.month}-${parts.day}`
  if (style === 'time') return `${time}:${parts.second}`
  if (style === 'date') return date
  if (style === 'full') return `${date} ${time}:${parts.second}`
  const today = partsIn(now, zone)
  if (date === `${today.year}-${today.month}-${today.day}`) return `${time}:${parts.second}`
  if (parts.year === today.year) return `${parts.month}-${parts.day} ${time}`
  return `${date} ${time}`
}

/** Everything there is to say of an instant, for a tooltip: local with offset, and UTC. */
export function explainInstant(instant: number | string, zone: string): string {
  const at = typeof instant === 'string' ? Date.parse(instant) : instant
  if (Number.isNaN(at)) return String(instant)
  const utc = `${formatInstant(at, 'UTC', 'full')} UTC`
  return zone === 'UTC' ? utc : `${formatInstant(at, zone, 'full')} ${offsetIn(at, zone)} ${zone}\n${utc}`
}

/** The offset of a zone at an instant: `+01:00`. */
export function offsetIn(at: number, zone: string): string {
  const minutes = offsetMinutes(at, zone)
  const sign = minutes < 0 ? '−' : '+'
  const size = Math.abs(minutes)
  return `${sign}${String(Math.floor(size / 60)).padStart(2, '0')}:${String(size % 60).padStart(2, '0')}`
}

function offsetMinutes(at: number, zone: string): number {
  const parts = partsIn(at, zone)
  const local = Date.UTC(+parts.year, +parts.month - 1, +parts.day, +parts.hour, +parts.minute, +parts.second)
  return Math.round((local - Math.floor(at / 1000) * 1000) / 60_000)
}

function partsIn(at: number, zone: string): Parts {
  const parts: Record<string, string> = {}
  for (const part of formatter(zone).formatToParts(at)) parts[part.type] = part.value
  return parts as unknown as Parts
}

function formatter(zone: string): Intl.DateTimeFormat {
  return formatterOf(zone) ?? (formatterOf('UTC') as Intl.DateTimeFormat)
}

function formatterOf(zone: string): Intl.DateTimeFormat | undefined {
  if (!formatters.has(zone)) {
    let made: Intl.DateTimeFormat | undefined
    try {
      made = newFormatter(zone)
    } catch {
      // There is no such zone.
    }
    formatters.set(zone, made)
  }
  return formatters.get(zone)
}

function newFormatter(timeZone?: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat('en-GB', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  })
}

/**
 * The instant of a wall time in a zone, as `<input type="datetime-local">` writes it: `2026-11-28T14:05`. A time that the clocks skip is
 * the instant after the gap, one that they show twice the first.
 */
export function instantOf(local: string, zone: string): string | undefined {
  const wall = Date.parse(`${local}Z`)
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/.test(local) || Number.isNaN(wall)) return undefined
  const offsets = [wall - DAY, wall + DAY].map((at) => offsetMinutes(at, zone) * 60_000)
  const [before = 0, after = 0] = offsets
  const found = [wall - before, wall - after].find((at) => at + offsetMinutes(at, zone) * 60_000 === wall)
  return new Date(found ?? wall - before).toISOString()
}

/** What the clock of a zone shows at an instant, as `<input type="datetime-local">` reads it. */
export function localOf(instant: string, zone: string): string {
  return formatInstant(instant, zone, 'full').replace(' ', 'T').slice(0, 16)
}

const BEFORE = 18 * 3_600_000
const AFTER = 6 * 3_600_000

/** The day around an instant, three quarters of it past; it moves on by quarters of an hour. */
export function dayAround(now: number): { from: string; to: string } {
  const quarter = Math.ceil(now / QUARTER) * QUARTER
  return { from: new Date(quarter - BEFORE).toISOString(), to: new Date(quarter + AFTER).toISOString() }
}
