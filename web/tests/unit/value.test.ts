import { describe, expect, it } from 'vitest'

import { formatBytes } from '@/value/bytes'
import { ExactNumber, parseExact, tableColumns } from '@/value/json'
import { formatChange, formatNumber } from '@/value/number'

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
