import { describe, expect, it } from 'vitest'

import { formatBytes } from '@/value/bytes'
import { ExactNumber, parseExact, tableColumns, type Json } from '@/value/json'
import { changes } from '@/components/changes'
import { contrast, GROUND, readable } from '@/value/color'
import { formatChange, formatNumber } from '@/value/number'
import { summary } from '@/value/summary'

describe('JSON', () => {
  it('keeps the digits that a number would lose', () => {
    const value = parseExact('[12345678901234567890, 0.1, 0.10, 1e3, 0.1000000000000000055]') as unknown[]
    expect(value[0]).toEqual(new ExactNumber('12345678901234567890'))
    expect(value.slice(1, 4)).toEqual([0.1, 0.1, 1000])
    expect(value[4]).toEqual(new ExactNumber('0.1000000000000000055'))
  })

  it('reads everything else as it is', () => {
    expect(parseExact('{"a": [null, true, "x", 1.5, -0]}')).toEqual({ a: [null, true, 'x', 1.5, -0] })
    const text = '{"12345678901234567890": "12345678901234567890 \\\\", "b": "\\\\\\"1.00000000000000000001"}'
    expect(parseExact(text)).toEqual(JSON.parse(text))
  })

  it('makes a table of a list of records', () => {
    expect(tableColumns([{ a: 1 }, { a: 2, b: 'x' }])).toEqual(['a', 'b'])
  })

  it('makes none of what has no rows or columns, or is nested', () => {
    expect(tableColumns([])).toBeUndefined()
    expect(tableColumns([1, 2])).toBeUndefined()
    expect(tableColumns([{}])).toBeUndefined()
    expect(tableColumns([{ a: [1] }])).toBeUndefined()
    expect(tableColumns({ a: 1 })).toBeUndefined()
  })
})

describe('a number', () => {
  it('has six digits, and thousands apart', () => {
    expect(formatNumber(42.1)).toBe('42.1')
    expect(formatNumber(1234.5678)).toBe('1\u202f234.57')
    expect(formatNumber(1234567.8)).toBe('1\u202f234\u202f568')
    expect(formatNumber(-0.25)).toBe('−0.25')
    expect(formatNumber(0)).toBe('0')
  })

  it('stands with an exponent where it is very large or very small', () => {
    expect(formatNumber(1.5e15)).toBe('1.500e15')
    expect(formatNumber(0.000012)).toBe('1.200e-5')
  })

  it('says its change, and in percent unless it was 0', () => {
    expect(formatChange(110, 100)).toBe('+10 (+10\u202f%)')
    expect(formatChange(90, 100)).toBe('−10 (−10\u202f%)')
    expect(formatChange(5, 0)).toBe('+5')
    expect(formatChange(5, 5)).toBe('±0')
    expect(formatChange(100_000_001, 100_000_000)).toBe('+1')
    expect(formatChange(-5, -10)).toBe('+5 (+50\u202f%)')
  })
})

describe('an amount of bytes', () => {
  it('has the unit that fits', () => {
    expect(formatBytes(0)).toBe('0 B')
    expect(formatBytes(1023)).toBe('1023 B')
    expect(formatBytes(36 * 1024 * 1024)).toBe('36.0 MiB')
  })
})

describe('a value in a list', () => {
  it('is said in a few words', () => {
    expect(summary(12345.678)).toBe('12\u202f345.7')
    expect(summary({ price: 91_234.5, city: 'Paris', book: { bids: 3 }, ok: true })).toBe(
      'price 91\u202f234.5 · city Paris · ok true',
    )
    expect(summary({ a: 1, b: 2, c: 3, d: 4 })).toBe('a 1 · b 2 · c 3 …')
    expect(summary([{ a: 1 }, { a: 2 }])).toBe('[2]')
    expect(summary({ deep: { a: 1 } })).toBe('{1}')
    expect(summary('x'.repeat(100))).toBe(`${'x'.repeat(60)}…`)
    expect(summary(parseExact('12345678901234567890') as Json)).toBe('1.235e19')
    expect([summary(null), summary(undefined), summary({})]).toEqual(['', '', '{0}'])
  })
})

describe('what has changed', () => {
  it('is what differs, down to what is no record itself', () => {
    const before = { header: { tags: ['a'], retries: { max: 1, on: null } }, problem: null, timezone: 'UTC' }
    const after = {
      header: { tags: ['a', 'b'], retries: { max: 2, on: null } },
      problem: null,
      timezone: 'UTC',
    }
    expect(changes(before, after)).toEqual([
      { key: 'header.tags', before: 'a', after: 'a, b' },
      { key: 'header.retries.max', before: '1', after: '2' },
    ])
    expect(changes(null, { args: null, force: false })).toEqual([
      { key: 'force', before: '', after: 'false' },
    ])
    expect(changes({ a: { b: 1 } }, {})).toEqual([{ key: 'a.b', before: '1', after: '' }])
  })
})

describe('a color that a script chose', () => {
  it('is kept where it can be read, and else moved until it can', () => {
    expect(readable('#0000aa', GROUND.light)).toBe('#0000aa')
    expect(readable('#ffff00', GROUND.dark)).toBe('#ffff00')
    for (const ground of Object.values(GROUND)) {
      for (const color of ['#ffff00', '#d7ffaf', '#000000', '#ffffff', '#5f0000', '#808080']) {
        expect(contrast(readable(color, ground), ground), `${color} on ${ground}`).toBeGreaterThanOrEqual(4.5)
      }
    }
  })
})
