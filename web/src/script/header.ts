import type { HeaderKey } from '@/api/model'
import { formatBytes } from '@/value/bytes'
import { formatSpan } from '@/time/duration'
import { isRecord, type Json } from '@/value/json'

/** Keys whose numbers are seconds; within tables they say so themselves (`delay_seconds`). */
const SPANS = new Set([
  'timeout',
  'grace',
  'jitter',
  'keep_output',
  'keep_runs',
  'cpu_seconds',
  'stale_after',
])
const SIZES = new Set(['memory'])
const SECONDS = '_seconds'
const ORDER = ['series', 'unit', 'type', 'min', 'max']

/** What holds under a key of a header, in words, a line for each part; undefined: what holds where nothing is said. */
export function headerText(row: Pick<HeaderKey, 'key' | 'value'>): string | undefined {
  const text = textOf(row.key, row.value as Json)
  return text === '' ? undefined : text
}

function textOf(key: string, value: Json | undefined): string {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) {
    const isTable = value.some(isRecord) || key === 'schedule'
    return value.map((item) => textOf(key, item)).join(isTable ? '\n' : ', ')
  }
  // Arguments are the script's own: whatever they are, they are written as they were.
  if (key === 'args') return isRecord(value) && Object.keys(value).length > 0 ? JSON.stringify(value) : ''
  if (isRecord(value)) {
    return Object.entries(value)
      .sort(([one], [other]) => place(one) - place(other))
      .map(([name, item]) => [nameOf(name), textOf(name, item)])
      .filter(([, text]) => text !== '')
      .map(([name, text]) => `${name} ${text}`)
      .join(', ')
  }
  if (typeof value === 'number' && (SPANS.has(key) || key.endsWith(SECONDS))) return formatSpan(value)
  if (typeof value === 'number' && SIZES.has(key)) return formatBytes(value)
  return String(value)
}

/** JSON from the database has its keys in an order of its own. */
function place(key: string): number {
  const at = ORDER.indexOf(key)
  return at < 0 ? ORDER.length : at
}

function nameOf(key: string): string {
  return key.endsWith(SECONDS) ? key.slice(0, -SECONDS.length) : key
}
