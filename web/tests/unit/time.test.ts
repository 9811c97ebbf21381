import { mount } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'

import Countdown from '@/components/Countdown.vue'
import Elapsed from '@/components/Elapsed.vue'
import Instant from '@/components/Instant.vue'
import { preferences, zoneFor } from '@/preferences'
import { setClock } from '@/time/clock'
import { formatDuration, formatSeconds } from '@/time/duration'
import { browserZone, explainInstant, formatInstant, offsetIn } from '@/time/instant'

describe('a duration', () => {
  it('has the units that fit', () => {
    expect(formatDuration(0)).toBe('0 ms')
    expect(formatDuration(812.4)).toBe('812 ms')
    expect(formatDuration(999.6)).toBe('1.0 s')
    expect(formatDuration(4210)).toBe('4.2 s')
    expect(formatDuration(9960)).toBe('10 s')
    expect(formatDuration(192_000)).toBe('3m 12s')
    expect(formatDuration(7_500_000)).toBe('2h 05m')
    expect(formatDuration(273_600_000)).toBe('3d 4h')
    expect(formatDuration(-1500)).toBe('−1.5 s')
    expect(formatSeconds(60)).toBe('1m 00s')
  })
})

describe('an instant', () => {
  const now = Date.parse('2026-11-28T12:00:00Z')

  it('leaves out what today says already', () => {
    expect(formatInstant('2026-11-28T13:05:09Z', 'UTC', 'short', now)).toBe('13:05:09')
    expect(formatInstant('2026-11-27T13:05:09Z', 'UTC', 'short', now)).toBe('11-27 13:05')
    expect(formatInstant('2025-11-27T13:05:09Z', 'UTC', 'short', now)).toBe('2025-11-27 13:05')
  })

  it('is today in the zone that is shown, not in UTC', () => {
    expect(formatInstant('2026-11-28T23:30:00Z', 'Asia/Shanghai', 'short', now)).toBe('11-29 07:30')
  })

  it('follows clock changes', () => {
    expect(formatInstant('2026-10-25T00:30:00Z', 'Europe/Berlin', 'full')).toBe('2026-10-25 02:30:00')
    expect(formatInstant('2026-10-25T01:30:00Z', 'Europe/Berlin', 'full')).toBe('2026-10-25 02:30:00')
    expect(offsetIn(Date.parse('2026-10-25T00:30:00Z'), 'Europe/Berlin')).toBe('+02:00')
    expect(offsetIn(Date.parse('2026-10-25T01:30:00Z'), 'Europe/Berlin')).toBe('+01:00')
    expect(offsetIn(Date.parse('2026-07-01T00:00:00.250Z'), 'America/St_Johns')).toBe('−02:30')
  })

  it('is midnight as 00, never as 24', () => {
    expect(formatInstant('2026-11-28T00:00:00Z', 'UTC', 'full')).toBe('2026-11-28 00:00:00')
  })

  it('says in full what it leaves out', () => {
    expect(explainInstant('2026-11-28T13:05:09Z', 'Europe/Berlin')).toBe(
      '2026-11-28 14:05:09 +01:00 Europe/Berlin\n2026-11-28 13:05:09 UTC',
    )
    expect(explainInstant('2026-11-28T13:05:09Z', 'UTC')).toBe('2026-11-28 13:05:09 UTC')
  })

  it('is shown as it is if it is none, and in UTC if its zone is none', () => {
    expect(formatInstant('soon', 'UTC')).toBe('soon')
    expect(formatInstant('2026-11-28T13:05:09Z', 'Mars/Base', 'full')).toBe('2026-11-28 13:05:09')
  })
})

describe('the zone', () => {
  afterEach(() => (preferences.zone = 'task'))

  it('is that of the task, of the browser, or UTC', () => {
    expect(zoneFor('Asia/Tokyo')).toBe('Asia/Tokyo')
    expect(zoneFor(null)).toBe(browserZone())
    preferences.zone = 'browser'
    expect(zoneFor('Asia/Tokyo')).toBe(browserZone())
    preferences.zone = 'utc'
    expect(zoneFor('Asia/Tokyo')).toBe('UTC')
  })
})

describe('time that goes on', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: Date.parse('2026-11-28T12:00:00Z') })
    setClock('2026-11-28T12:00:00Z')
  })
  afterEach(() => vi.useRealTimers())

  it('counts down, and says when it is due', async () => {
    const countdown = mount(Countdown, { props: { to: '2026-11-28T12:00:02Z' } })
    expect(countdown.text()).toBe('in 2 s')
    vi.advanceTimersByTime(1000)
    await nextTick()
    expect(countdown.text()).toBe('in 1 s')
    vi.advanceTimersByTime(1000)
    await nextTick()
    expect(countdown.text()).toBe('now')
    expect(countdown.emitted('due')).toHaveLength(1)
    vi.advanceTimersByTime(5000)
    await nextTick()
    expect(countdown.emitted('due')).toHaveLength(1)
  })

  it('writes what was today with its date once the day is over, by the server', async () => {
    preferences.zone = 'utc'
    const shown = mount(Instant, { props: { at: '2026-11-28T11:00:00Z' } })
    expect(shown.text()).toBe('11:00:00')
    vi.advanceTimersByTime(12 * 3_600_000 - 1000)
    await nextTick()
    expect(shown.text()).toBe('11:00:00')
    vi.advanceTimersByTime(1000)
    await nextTick()
    expect(shown.text()).toBe('11-28 11:00')
    preferences.zone = 'task'
  })

  it('has the day of the server, whatever this clock shows', () => {
    setClock('2026-12-01T00:00:30Z')
    expect(formatInstant('2026-11-30T23:59:00Z', 'UTC')).toBe('11-30 23:59')
    expect(formatInstant('2026-12-01T00:00:01Z', 'UTC')).toBe('00:00:01')
  })

  it('counts by the server, whatever this clock shows', async () => {
    setClock('2026-11-28T13:00:00Z')
    const elapsed = mount(Elapsed, { props: { since: '2026-11-28T12:59:30Z' } })
    expect(elapsed.text()).toBe('30 s')
    vi.advanceTimersByTime(31_000)
    await nextTick()
    expect(elapsed.text()).toBe('1m 01s')
  })
})
