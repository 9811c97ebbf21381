import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { mount } from '@vue/test-utils'
import { afterEach, describe, expect, it } from 'vitest'

import type { HeaderKey } from '@/api/model'
import { i18n } from '@/i18n'
import { HEADER_WORDS } from '@/i18n/header.zh-CN'
import HeaderTab from '@/pages/task/HeaderTab.vue'
import { preferences } from '@/preferences'
import { headerText } from '@/script/header'

const SOURCE = readFileSync(join(import.meta.dirname, '../../../src/script/key.rs'), 'utf8')

/** The names of a table of keys in src/script/key.rs. */
function keysOf(table: string): string[] {
  const body = new RegExp(`const ${table}: &\\[Key\\] = &\\[\\n([\\s\\S]*?)\\n\\];`).exec(SOURCE)?.[1] ?? ''
  return [...body.matchAll(/^ {8}name: "([^"]+)",$/gm)].map((found) => found[1] as string)
}

function row(key: string, value: unknown, source = 'header'): HeaderKey {
  return { key, value, source, words: `about ${key}`, default: `no ${key}` } as HeaderKey
}

describe('what a header says', () => {
  const said = (key: string, value: unknown) => headerText(row(key, value))

  it('has its spans in words, in tables too', () => {
    expect(said('timeout', 5400)).toBe('1 h 30 min')
    expect(said('grace', 90)).toBe('1 min 30 s')
    expect(said('jitter', 0)).toBe('0 s')
    expect(
      said('retries', { backoff: 2, max: 2, delay_seconds: 90, cap_seconds: 3600, on: ['failed', 'lost'] }),
    ).toBe('max 2, backoff 2, delay 1 min 30 s, cap 1 h, on failed, lost')
  })

  it('is a line for each schedule and each series, and a list elsewhere', () => {
    expect(said('schedule', ['@daily', '0 3 * * *'])).toBe('@daily\n0 3 * * *')
    expect(
      said('value', [
        { min: 0, series: 'a' },
        { series: 'b', stale_after_seconds: 93_600 },
      ]),
    ).toBe('series a, min 0\nseries b, stale_after 1 d 2 h')
    expect(said('tags', ['one', 'two'])).toBe('one, two')
  })

  it('has sizes as people read them, and arguments as they were written', () => {
    expect(said('memory', 536_870_912)).toBe('512.0 MiB')
    expect(said('max_running', 4)).toBe('4')
    expect(said('args', { city: 'Paris', limits: [1, 2] })).toBe('{"city":"Paris","limits":[1,2]}')
  })

  it('is nothing where nothing is', () => {
    for (const value of [null, undefined, [], {}, { late_after_seconds: null }]) {
      expect(said('notify', value)).toBeUndefined()
    }
  })
})

describe('the header in Chinese', () => {
  afterEach(() => (preferences.language = 'en'))

  it('explains every key that there is', () => {
    const keys = [...keysOf('KEYS'), ...keysOf('BLOCK_KEYS')]
    expect(keys).toContain('schedule')
    expect(Object.keys(HEADER_WORDS).sort()).toEqual(keys.sort())
    for (const [key, { words }] of Object.entries(HEADER_WORDS)) expect(words, key).toMatch(/[\u4e00-\u9fff]/)
  })

  it('stands there instead of what the server says', async () => {
    const tab = mount(HeaderTab, { props: { header: [row('grace', null, 'default'), row('tags', ['x'])] } })
    expect(tab.text()).toContain('about grace')
    expect(tab.text()).toContain('no grace')
    preferences.language = 'zh-CN'
    await Promise.resolve()
    await tab.vm.$nextTick()
    expect(i18n.global.locale.value).toBe('zh-CN')
    expect(tab.text()).not.toContain('about')
    expect(tab.text()).toContain('多晚都行')
  })
})
