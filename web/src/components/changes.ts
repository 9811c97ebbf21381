import { isRecord } from '@/value/json'

/** One thing that is not as it was. */
export interface Change {
  /** Its place: keys joined by dots. */
  key: string
  /** Empty: there was nothing. */
  before: string
  after: string
}

const LONGEST = 300

/** What differs between two records, down to what is no record itself. What is nothing on both sides, or the same, is left out. */
export function changes(before: unknown, after: unknown, path = ''): Change[] {
  const [was, is] = [isRecord(before) ? before : {}, isRecord(after) ? after : {}]
  return [...new Set([...Object.keys(was), ...Object.keys(is)])].flatMap((key) => {
    const place = path === '' ? key : `${path}.${key}`
    if (isRecord(was[key]) || isRecord(is[key])) return changes(was[key], is[key], place)
    const change = { key: place, before: text(was[key]), after: text(is[key]) }
    return change.before === change.after ? [] : [change]
  })
}

function text(value: unknown): string {
  if (value === undefined || value === null) return ''
  const whole = Array.isArray(value)
    ? value.map((item) => (typeof item === 'string' ? item : JSON.stringify(item))).join(', ')
    : typeof value === 'string'
      ? value
      : JSON.stringify(value)
  return whole.length > LONGEST ? `${whole.slice(0, LONGEST)}…` : whole
}
