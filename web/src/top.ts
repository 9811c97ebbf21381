import { onScopeDispose, readonly, ref } from 'vue'

// The first lines of a table are still in sight.
const NEAR = 100

/** Whether the window is at the top of the page, where what is new comes in. */
export function useAtTop() {
  const isAtTop = ref(window.scrollY < NEAR)
  const look = () => (isAtTop.value = window.scrollY < NEAR)
  window.addEventListener('scroll', look, { passive: true })
  onScopeDispose(() => window.removeEventListener('scroll', look))
  return readonly(isAtTop)
}
