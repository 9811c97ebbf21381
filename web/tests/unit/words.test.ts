import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { afterEach, describe, expect, it } from 'vitest'

import { STATUSES, TRIGGERS } from '@/api/types'
import { i18n } from '@/i18n'
import en from '@/i18n/en'
import zhCN from '@/i18n/zh-CN'
import { preferences } from '@/preferences'
import { TEMPLATES } from '@/script/templates'

interface Texts {
  [key: string]: string | Texts
}

function flat(texts: Texts, prefix = ''): [string, string][] {
  return Object.entries(texts).flatMap(([key, text]): [string, string][] =>
    typeof text === 'string' ? [[`${prefix}${key}`, text]] : flat(text, `${prefix}${key}.`),
  )
}

function placeholders(text: string): string[] {
  return [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1] as string))].sort()
}

/** The words of an enum in src/run.rs. */
function wordsOf(name: string): string[] {
  const source = readFileSync(join(import.meta.dirname, '../../../src/run.rs'), 'utf8')
  const body = new RegExp(`\\n    ${name} \\{\\n([\\s\\S]*?)\\n    \\}`).exec(source)?.[1] ?? ''
  return [...body.matchAll(/= "(\w+)"/g)].map((found) => found[1] as string)
}

describe('the words of the page', () => {
  it('are those of the scheduler', () => {
    expect(wordsOf('Status')).toEqual(STATUSES)
    expect(wordsOf('Trigger')).toEqual(TRIGGERS)
    expect(wordsOf('Reason').sort()).toEqual(Object.keys(en.reason).sort())
  })

  it('are those with which `why` labels its facts', () => {
    const source = readFileSync(join(import.meta.dirname, '../../../src/why/sentences.rs'), 'utf8')
    const code = source.slice(0, source.indexOf('#[cfg(test)]'))
    const labels = [...code.matchAll(/\bfact\(\s*"([^"]+)"/g)].map((found) => found[1] as string)
    expect([...new Set(labels)].sort()).toEqual(Object.values(en.instants.labels).sort())
    for (const [key, label] of Object.entries(en.instants.labels)) expect(key).toBe(label.replace(/\W/g, '_'))
  })

  it('are all said somewhere', () => {
    const root = join(import.meta.dirname, '../../src')
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    const isRead = (file: string) => /\.(vue|ts)$/.test(file) && !/^i18n|schema\.ts$/.test(file)
    const code = files.filter(isRead).map((file) => readFileSync(join(root, file), 'utf8'))
    const source = code.join('\n')
    // Of some groups the word is known only when the page runs.
    const groups = new Set([...source.matchAll(/`([\w.]+)\.\$\{/g)].map((found) => found[1]))
    const keys = flat(en as unknown as Texts).map(([key]) => key)
    const isSaid = (key: string) => source.includes(`'${key}'`) || groups.has(key.replace(/\.\w+$/, ''))
    expect(keys.filter((key) => !isSaid(key))).toEqual([])
  })

  it('take the same facts in each language', () => {
    const chinese = new Map(flat(zhCN as unknown as Texts))
    const english = flat(en as unknown as Texts)
    expect([...chinese.keys()].sort()).toEqual(english.map(([key]) => key).sort())
    for (const [key, text] of english) {
      // Chinese has one form for any number, and says it where English may leave it to the form.
      const wanted = placeholders(text)
      const found = placeholders(chinese.get(key) ?? '')
      expect(
        found.filter((name) => !['n', 'count'].includes(name)),
        key,
      ).toEqual(wanted.filter((name) => !['n', 'count'].includes(name)))
      expect((chinese.get(key) ?? '').trim(), key).not.toBe('')
    }
  })

  it('are in Chinese where they are said to be', () => {
    const untranslated = flat(zhCN as unknown as Texts).filter(([, text]) => !/[\u4e00-\u9fff]/.test(text))
    expect(untranslated.map(([key]) => key)).toEqual(['zone.utc', 'series.csv'])
  })

  it('can all be read by the library that shows them', () => {
    for (const language of ['en', 'zh-CN'] as const) {
      i18n.global.locale.value = language
      for (const [key] of flat(en as unknown as Texts)) {
        expect(i18n.global.t(key, { n: 2, count: 2 }, 2), `${language} ${key}`).not.toBe(key)
      }
    }
    i18n.global.locale.value = preferences.language
  })
})

describe('the language', () => {
  afterEach(() => (preferences.language = 'en'))

  it('changes at once, and says so to readers of screens', async () => {
    preferences.language = 'zh-CN'
    await Promise.resolve()
    expect(i18n.global.t('status.failed')).toBe('失败')
    expect(document.documentElement.lang).toBe('zh-CN')
  })
})

describe('templates', () => {
  it('have a header and a run', () => {
    for (const [name, text] of Object.entries(TEMPLATES)) {
      expect(text, name).toMatch(/^# \/\/\/ script\n# \[tool\.dropcron\]\n/)
      expect(text, name).toMatch(/\n(async )?def run\(\):\n/)
    }
  })
})
