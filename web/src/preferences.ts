import { computed, reactive, watch } from 'vue'

import { browserZone, isZone } from '@/time/instant'

/** In whose time instants are shown: that of the task they belong to, this browser's, or UTC. */
export type ZoneChoice = 'task' | 'browser' | 'utc'
/** Which colors: those of the system, or always the same. */
export type ThemeChoice = 'system' | 'light' | 'dark'
/** The languages of the page. */
export type Language = 'en' | 'zh-CN'

/** What a person has chosen for this browser. */
export interface Preferences {
  zone: ZoneChoice
  theme: ThemeChoice
  language: Language
}

const KEY = 'dropcron.preferences'
const LANGUAGES: readonly Language[] = ['en', 'zh-CN']

export const preferences = reactive<Preferences>(stored())

const darkSystem = window.matchMedia('(prefers-color-scheme: dark)')
const system = reactive({ dark: darkSystem.matches })
darkSystem.addEventListener('change', (event) => (system.dark = event.matches))

/** The colors that are shown now. */
export const theme = computed<'light' | 'dark'>(() => {
  if (preferences.theme !== 'system') return preferences.theme
  return system.dark ? 'dark' : 'light'
})

watch(preferences, (chosen) => {
  try {
    localStorage.setItem(KEY, JSON.stringify(chosen))
  } catch {
    // A browser that keeps nothing still shows what was chosen.
  }
})

/** The zone in which an instant of a task is shown; without a task, "task zone" is the browser's. */
export function zoneFor(taskZone?: string | null): string {
  if (preferences.zone === 'utc') return 'UTC'
  if (preferences.zone === 'task' && taskZone && isZone(taskZone)) return taskZone
  return browserZone()
}

function stored(): Preferences {
  const chosen: Preferences = { zone: 'task', theme: 'system', language: ofBrowser() }
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Preferences>
    if (found.zone && ['task', 'browser', 'utc'].includes(found.zone)) chosen.zone = found.zone
    if (found.theme && ['system', 'light', 'dark'].includes(found.theme)) chosen.theme = found.theme
    if (found.language && LANGUAGES.includes(found.language)) chosen.language = found.language
  } catch {
    // What cannot be read is as if nothing had been chosen.
  }
  return chosen
}

function ofBrowser(): Language {
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en'
}
