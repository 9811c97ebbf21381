import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { STATUSES } from '@/api/types'
import { themeOverrides } from '@/style/theme'
import { contrast, GROUND } from '@/value/color'

const SOURCE = readFileSync(join(import.meta.dirname, '../../src/style/tokens.css'), 'utf8')

/** The colors of a theme by their names. */
function tokens(theme: 'light' | 'dark'): Map<string, string> {
  const block = new RegExp(`:root\\[data-theme='${theme}'\\] \\{([\\s\\S]*?)\\n\\}`).exec(SOURCE)?.[1] ?? ''
  return new Map(
    [...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map((found) => [
      found[1] as string,
      found[2] as string,
    ]),
  )
}

describe.each(['light', 'dark'] as const)('colors of the %s theme', (theme) => {
  const found = tokens(theme)
  const text = [
    'ink',
    'ink-muted',
    'accent',
    ...STATUSES,
    ...Array.from({ length: 8 }, (_, index) => `series-${index + 1}`),
    ...Array.from({ length: 16 }, (_, index) => `ansi-${index}`),
  ]
  const surfaces = ['ground', 'surface', 'surface-sunken', 'surface-hover']

  it.each(text)('%s can be read on every surface', (name) => {
    for (const surface of surfaces) {
      expect(
        contrast(found.get(name) ?? '', found.get(surface) ?? ''),
        `${name} on ${surface}`,
      ).toBeGreaterThanOrEqual(4.5)
    }
  })

  it('of output stand on its ground', () => {
    expect(found.get('surface-sunken')).toBe(GROUND[theme])
  })

  it('are readable on what is marked', () => {
    for (const surface of ['accent-soft', 'warn-soft', 'bad-soft', 'good-soft', 'mark']) {
      expect(contrast(found.get('ink') ?? '', found.get(surface) ?? ''), surface).toBeGreaterThanOrEqual(4.5)
    }
  })

  it('are the same in Naive UI', () => {
    const common = themeOverrides(theme).common
    expect(common).toMatchObject({
      bodyColor: found.get('ground'),
      cardColor: found.get('surface'),
      primaryColor: found.get('accent'),
      textColorBase: found.get('ink'),
      textColor3: found.get('ink-muted'),
      dividerColor: found.get('line'),
      successColor: found.get('succeeded'),
      errorColor: found.get('failed'),
      warningColor: found.get('missed'),
    })
  })

  it('of buttons can be read', () => {
    const overrides = themeOverrides(theme)
    const label = String(overrides.Button?.textColorPrimary)
    for (const face of [
      overrides.common?.primaryColor,
      overrides.common?.primaryColorHover,
      overrides.common?.primaryColorPressed,
    ]) {
      expect(contrast(label, face ?? '')).toBeGreaterThanOrEqual(4.5)
    }
  })
})
