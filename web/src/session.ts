import { computed, readonly, ref } from 'vue'

import * as calls from '@/api/calls'
import type { Session } from '@/api/model'

const current = ref<Session | null>(null)

/** Who is logged in. */
export const session = readonly(current)

/** Whether they may pause, run, cancel and judge. */
export const mayOperate = computed(
  () => current.value?.role === 'operator' || current.value?.role === 'admin',
)

/** Whether they may change scripts and tokens. */
export const mayAdminister = computed(() => current.value?.role === 'admin')

/** Takes up the session of this browser's cookie, if there is one. */
export async function resumeSession(): Promise<void> {
  current.value = await calls.session()
}

/** Begins a session with a token. */
export async function login(token: string): Promise<void> {
  current.value = await calls.login(token)
}

/** Ends the session, here and on the server. */
export async function logout(): Promise<void> {
  await calls.logout()
  current.value = null
}

/** Forgets a session that the server has ended. */
export function forget(): void {
  current.value = null
}
