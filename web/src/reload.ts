import { ref } from 'vue'

/** Whether a part of the page could not be loaded. */
export const partIsMissing = ref(false)

/** After a reload that did not help, the page stays as it is for so long. */
const PATIENCE_MS = 60_000

const KEY = 'dropcron.reloaded_at'

/**
 * Loads the page anew when a part of it is gone: an upgrade of the service brings parts with other names. Once a minute at most, so
 * that a service which lacks a part for another reason is not asked for ever.
 */
export function reloadWhenPartsAreGone(
  target: EventTarget,
  memory: Pick<Storage, 'getItem' | 'setItem'>,
  reload: () => void,
): void {
  target.addEventListener('vite:preloadError', (event) => {
    const last = Number(memory.getItem(KEY) ?? 0)
    if (Date.now() - last < PATIENCE_MS) return
    memory.setItem(KEY, String(Date.now()))
    event.preventDefault()
    reload()
  })
}
