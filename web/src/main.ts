import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { createApp } from 'vue'
import type { Router } from 'vue-router'

import { onLoggedOut } from '@/api/client'
import { Problem } from '@/api/problem'
import App from '@/App.vue'
import { i18n } from '@/i18n'
import { loginByLink } from '@/login'
import { reloadWhenPartsAreGone } from '@/reload'
import { createPageRouter } from '@/router'
import { forget } from '@/session'

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
    },
  },
})

async function open(): Promise<void> {
  reloadWhenPartsAreGone(window, sessionStorage, () => window.location.reload())
  await loginByLink()
  // Only now: the router takes the address as it finds it.
  const router = createPageRouter(queries)
  onLoggedOut(() => void leave(router))
  const page = createApp(App).use(i18n).use(router).use(VueQueryPlugin, { queryClient: queries })
  // Nothing is shown before it is known whether somebody is logged in.
  await router.isReady()
  page.mount('#page')
}

/** To the login, and back to where one was afterwards. */
async function leave(router: Router): Promise<void> {
  // The first refusals may come before the page that they are about.
  await router.isReady()
  const here = router.currentRoute.value
  if (here.name === 'login') return
  forget()
  queries.clear()
  await router.replace({ name: 'login', query: { to: here.fullPath } })
}

void open()
