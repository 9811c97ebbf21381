import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { createApp } from 'vue'
import type { Router } from 'vue-router'

import { onRefused } from '@/api/client'
import { Problem } from '@/api/problem'
import App from '@/App.vue'
import { i18n } from '@/i18n'
import { loginByLink } from '@/login'
import { partIsMissing, reloadWhenPartsAreGone } from '@/reload'
import { createPageRouter } from '@/router'
import { confirmSession, forget, hasEnded, resumeSession, session } from '@/session'

import '@/style/tokens.css'
import '@/style/base.css'

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // Answers are never changed in place: nothing in them needs to be watched.
      shallow: true,
      staleTime: 2000,
      // A refusal stays one; a server that restarts comes back within a moment.
      retry: (failures, error) => !(error instanceof Problem && error.status < 500) && failures < 2,
      refetchOnWindowFocus: true,
      // A browser that thinks itself offline may be beside its server.
      networkMode: 'always',
      refetchOnReconnect: true,
    },
  },
})

async function open(): Promise<void> {
  reloadWhenPartsAreGone(window, sessionStorage, () => window.location.reload())
  await loginByLink()
  // Only now: the router takes the address as it finds it.
  const router = createPageRouter(queries)
  router.onError(() => (partIsMissing.value = true))
  router.afterEach(() => {
    partIsMissing.value = false
    hasEnded.value = false
  })
  onRefused((status) => {
    if (status === 401) void leave(router)
    // A role that is less than it was.
    else if (session.value) void confirmSession().catch(() => undefined)
  })
  queries.getQueryCache().subscribe((event) => {
    if (event.type !== 'updated' || event.action.type !== 'success') return
    hasEnded.value = false
    // The server answers again, and did not when it was asked who this is.
    if (!session.value) void resumeSession().catch(() => undefined)
  })
  const page = createApp(App).use(i18n).use(router).use(VueQueryPlugin, { queryClient: queries })
  // Nothing is shown before it is known whether somebody is logged in. A part that does not come is told on the page.
  await router.isReady().catch(() => undefined)
  page.mount('#page')
}

let isLeaving = false

/** To the login, and back to where one was afterwards. Somebody who stays, since something is not saved, is asked once. */
async function leave(router: Router): Promise<void> {
  // The first refusals may come before the page that they are about.
  await router.isReady().catch(() => undefined)
  const here = router.currentRoute.value
  if (here.name === 'login' || isLeaving || hasEnded.value) return
  isLeaving = true
  const failure = await router.replace({ name: 'login', query: { to: here.fullPath } })
  isLeaving = false
  if (failure) {
    hasEnded.value = true
  } else {
    forget()
    queries.clear()
  }
}

void open()
