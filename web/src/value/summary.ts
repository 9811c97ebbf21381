import { formatNumber } from './number'
import { ExactNumber, isRecord, type Json } from './json'

const MOST_PARTS = 3
const LONGEST = 60

/** What a run returned, in a few words for a list: its numbers and short texts by their names, the first few of them. */
export function summary(value: Json | undefined): string {
  if (value === null || value === undefined) return ''
  const whole = plain(value)
  if (whole !== undefined) return whole
  if (Array.isArray(value)) return `[${value.length}]`
  const parts = Object.entries(value as Record<string, Json>).flatMap(([key, item]) => {
    const text = plain(item)
    return text === undefined || text === '' ? [] : [`${key} ${text}`]
  })
  if (parts.length === 0) return `{${Object.keys(value).length}}`
  return parts.slice(0, MOST_PARTS).join(' · ') + (parts.length > MOST_PARTS ? ' …' : '')
}

function plain(value: Json): string | undefined {
  if (typeof value === 'number' || value instanceof ExactNumber) return formatNumber(value)
  if (typeof value === 'string') return value.length > LONGEST ? `${value.slice(0, LONGEST)}…` : value
  if (value === null) return ''
  return Array.isArray(value) || isRecord(value) ? undefined : String(value)
}
