import { computed, readonly, ref, watch } from 'vue'

import * as calls from '@/api/calls'
import type { Session } from '@/api/model'

/** One of each service: a host may have several, each below a path of its own. */
const KEY = `dropcron.session ${new URL('.', document.baseURI).pathname}`

const current = ref<Session | null>(remembered())
let confirmation: Promise<void> | undefined

/**
 * Who is logged in. It begins with who it was the last time, so that the page need not wait for the server's word; what the server
 * allows does not depend on it, and a refusal ends it.
 */
export const session = readonly(current)

/** Whether the server has ended it while somebody stays, since they have something to save. */
export const hasEnded = ref(false)

/** Whether they may pause, run, cancel and judge. */
export const mayOperate = computed(
  () => current.value?.role === 'operator' || current.value?.role === 'admin',
)

/** Whether they may change scripts and tokens. */
export const mayAdminister = computed(() => current.value?.role === 'admin')

watch(current, (known) => {
  try {
    if (known) localStorage.setItem(KEY, JSON.stringify(known))
    else localStorage.removeItem(KEY)
  } catch {
    // A browser that keeps nothing waits for the server's word.
  }
})

// What is done in one window holds in all.
window.addEventListener('storage', (event) => {
  if (event.key === KEY) current.value = remembered()
})

/** Asks the server again who this is. */
export function confirmSession(): Promise<void> {
  confirmation = undefined
  return resumeSession()
}

/** Takes up the session of this browser's cookie, if there is one; the server is asked once. */
export function resumeSession(): Promise<void> {
  confirmation ??= calls.session().then(
    (known) => {
      current.value = known
    },
    (error: unknown) => {
      confirmation = undefined
      throw error
    },
  )
  return confirmation
}

/** Begins a session with a token. */
export async function login(token: string): Promise<void> {
  current.value = await calls.login(token)
  confirmation = Promise.resolve()
}

/** Ends the session, here and on the server. */
export async function logout(): Promise<void> {
  await calls.logout()
  forget()
}

/** Forgets a session that the server has ended. */
export function forget(): void {
  current.value = null
  confirmation = undefined
}

function remembered(): Session | null {
  try {
    const known = JSON.parse(localStorage.getItem(KEY) ?? 'null') as Partial<Session> | null
    return typeof known?.role === 'string' && typeof known.name === 'string' ? (known as Session) : null
  } catch {
    return null
  }
}
