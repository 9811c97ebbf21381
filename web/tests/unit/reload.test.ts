import { expect, it, vi } from 'vitest'

import { reloadWhenPartsAreGone } from '@/reload'

it('loads the page anew when a part of it is gone, and does not do so for ever', () => {
  vi.useFakeTimers()
  const kept = new Map<string, string>()
  const memory = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  }
  const [target, reload] = [new EventTarget(), vi.fn()]
  reloadWhenPartsAreGone(target, memory, reload)
  const gone = () => target.dispatchEvent(new Event('vite:preloadError', { cancelable: true }))
  expect(gone()).toBe(false)
  expect(reload).toHaveBeenCalledTimes(1)
  expect(gone()).toBe(true)
  expect(reload).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(61_000)
  gone()
  expect(reload).toHaveBeenCalledTimes(2)
  vi.useRealTimers()
})
