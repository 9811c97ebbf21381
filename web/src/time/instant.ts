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

const formatters = new Map<string, Intl.DateTimeFormat>()

/** The zone of this browser. */
export function browserZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone
}

/** Whether the browser knows a zone by this name. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone })
    return true
  } catch {
    return false
  }
}

/**
 * An instant in a zone. `short` leaves out what today's date says already: `14:05:09`, `11-27 14:05`, `2025-11-27 14:05`.
 * Digits stand in the same order in every language, so that columns of instants align and sort by eye.
 */
export function formatInstant(
  instant: number | string,
  zone: string,
  style: InstantStyle = 'short',
  now = Date.now(),
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
  const parts = partsIn(at, zone)
  const local = Date.UTC(+parts.year, +parts.month - 1, +parts.day, +parts.hour, +parts.minute, +parts.second)
  const minutes = Math.round((local - Math.floor(at / 1000) * 1000) / 60_000)
  const sign = minutes < 0 ? '−' : '+'
  const size = Math.abs(minutes)
  return `${sign}${String(Math.floor(size / 60)).padStart(2, '0')}:${String(size % 60).padStart(2, '0')}`
}

function partsIn(at: number, zone: string): Parts {
  const parts: Record<string, string> = {}
  for (const part of formatter(zone).formatToParts(at)) parts[part.type] = part.value
  return parts as unknown as Parts
}

function formatter(zone: string): Intl.DateTimeFormat {
  let found = formatters.get(zone)
  if (!found) {
    found = new Intl.DateTimeFormat('en-GB', {
      timeZone: isZone(zone) ? zone : 'UTC',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      hourCycle: 'h23',
    })
    formatters.set(zone, found)
  }
  return found
}
