import { describe, expect, it } from 'vitest'

import { BETWEEN, choiceOf, filterOf, queryOf } from '@/pages/runs'
import { instantOf, localOf } from '@/time/instant'

const NOW = Date.parse('2026-11-28T12:00:30Z')

describe('which runs are shown', () => {
  const read = (query: Record<string, string>, zone = 'Europe/Berlin') => choiceOf(query, zone)

  it('stands in the address, and comes back from it', () => {
    const query = {
      task: 'prices/btc',
      status: 'failed,lost',
      trigger: 'manual',
      from: '2026-11-01T01:30:00.000Z',
      to: '2026-11-02T23:00:00.000Z',
      value: 'book.bids',
      min: '-1.5',
      max: '20',
    }
    expect(queryOf(read(query), 'Europe/Berlin')).toEqual(query)
    expect(read(query)).toMatchObject({ hours: BETWEEN, from: '2026-11-01T02:30', to: '2026-11-03T00:00' })
    // Whoever gets the address elsewhere sees the same runs, by their own clock.
    expect(read(query, 'Asia/Tokyo').from).toBe('2026-11-01T10:30')
    expect(queryOf(read(query, 'Asia/Tokyo'), 'Asia/Tokyo')).toEqual(query)
  })

  it('is asked of the server as it takes it', () => {
    const asked = (query: Record<string, string>) => filterOf(read(query), 'Europe/Berlin', NOW)
    expect(asked({})).toEqual({})
    expect(asked({ hours: '24', status: 'failed,timed_out' })).toEqual({
      from: '2026-11-27T12:00:00.000Z',
      status: 'failed,timed_out',
    })
    expect(asked({ value: 'price', min: '100' })).toEqual({ value_path: 'price', value_min: 100 })
    expect(asked({ value: 'price' })).toEqual({ value_path: 'price' })
    // Without a place it is the value itself that is compared.
    expect(asked({ max: '1e3' })).toEqual({ value_path: '', value_max: 1000 })
  })

  it('is whatever makes sense of an address', () => {
    const odd = { status: 'bad,failed', trigger: 'x', hours: 'many', from: 'soon', min: 'much' }
    expect(queryOf(read(odd), 'UTC')).toEqual({ status: 'failed' })
    expect(
      filterOf({ ...read({}), hours: BETWEEN, from: '2026-13-01T00:00', min: '3 %' }, 'UTC', NOW),
    ).toEqual({})
  })
})

describe('a wall time', () => {
  it('is an instant of its zone', () => {
    expect(instantOf('2026-11-28T14:05', 'Asia/Tokyo')).toBe('2026-11-28T05:05:00.000Z')
    expect(instantOf('2026-11-28T14:05', 'UTC')).toBe('2026-11-28T14:05:00.000Z')
    expect(localOf('2026-11-28T05:05:00Z', 'Asia/Tokyo')).toBe('2026-11-28T14:05')
    expect(instantOf('', 'UTC')).toBeUndefined()
    expect(instantOf('2026-11-28', 'UTC')).toBeUndefined()
  })

  it('is the first of two, and after a gap where there is none', () => {
    expect(instantOf('2026-10-25T02:30', 'Europe/Berlin')).toBe('2026-10-25T00:30:00.000Z')
    expect(instantOf('2026-03-29T02:30', 'Europe/Berlin')).toBe('2026-03-29T01:30:00.000Z')
    expect(instantOf('2026-03-29T03:00', 'Europe/Berlin')).toBe('2026-03-29T01:00:00.000Z')
  })
})
