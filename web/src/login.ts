import { shallowRef } from 'vue'

import { login } from '@/session'

/** Why the link that somebody came by did not log them in. */
export const linkProblem = shallowRef<unknown>()

/**
 * Logs in by a link such as `/login#token=…`, which the first start prints. The token stands behind the `#`, so that no log on the
 * way has it; it is taken out of the address first, so that neither history nor bookmarks keep it.
 */
export async function loginByLink(): Promise<void> {
  const token = takeToken(window.location, window.history)
  if (token === undefined) return
  try {
    await login(token)
  } catch (error) {
    linkProblem.value = error
  }
}

/** Takes the token out of an address, and leaves the address of the page. */
export function takeToken(location: Location, history: History): string | undefined {
  const found = /^#token=(.+)$/.exec(location.hash)
  const isLoginPath = location.pathname.endsWith('/login')
  if (found || isLoginPath) {
    const page = new URL('.', location.href).pathname
    history.replaceState(null, '', `${page}${found ? '#/' : '#/login'}`)
  }
  return found?.[1]
}
