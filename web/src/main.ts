import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { createApp } from 'vue'

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
  const router = createPageRouter()
  onLoggedOut(() => {
    const here = router.currentRoute.value
    if (here.name === 'login' || here.name === undefined) return
    forget()
    queries.clear()
    void router.replace({ name: 'login', query: { to: here.fullPath } })
  })
  const page = createApp(App).use(i18n).use(router).use(VueQueryPlugin, { queryClient: queries })
  // Nothing is shown before it is known whether somebody is logged in.
  await router.isReady()
  page.mount('#page')
}

void open()
