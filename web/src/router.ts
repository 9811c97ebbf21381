import type { QueryClient } from '@tanstack/vue-query'
import {
  createRouter,
  createWebHashHistory,
  type RouteLocationNormalized,
  type RouteLocationRaw,
  type Router,
  type RouteRecordRaw,
} from 'vue-router'

import { Problem } from '@/api/problem'
import { askAheadOfHome, askAheadOfTasks } from '@/api/queries'
import HomePage from '@/pages/HomePage.vue'
import { taskFilterOf } from '@/pages/tasks'
import { resumeSession, session } from '@/session'

declare module 'vue-router' {
  interface RouteMeta {
    /** Whether strangers may see it. */
    isOpen?: boolean
    /** Asks for what it shows first, before it is there itself. */
    askAhead?: (queries: QueryClient, to: RouteLocationNormalized) => void
  }
}

/** The pages, each a chunk of its own but the first, which most visits begin with. */
export const routes: RouteRecordRaw[] = [
  {
    path: '/',
    name: 'home',
    component: HomePage,
    meta: { askAhead: askAheadOfHome },
  },
  {
    path: '/login',
    name: 'login',
    component: () => import('@/pages/LoginPage.vue'),
    meta: { isOpen: true },
  },
  {
    path: '/tasks',
    name: 'tasks',
    component: () => import('@/pages/TasksPage.vue'),
    meta: { askAhead: (queries, to) => askAheadOfTasks(queries, taskFilterOf(to.query)) },
  },
  {
    path: '/tasks/:name/:tab?',
    name: 'task',
    component: () => import('@/pages/TaskPage.vue'),
    props: true,
  },
  { path: '/runs', name: 'runs', component: () => import('@/pages/RunsPage.vue') },
  { path: '/runs/:id(\\d+)', name: 'run', component: () => import('@/pages/RunPage.vue'), props: asNumber },
  { path: '/series', name: 'series', component: () => import('@/pages/SeriesPage.vue') },
  { path: '/scripts', name: 'scripts', component: () => import('@/pages/ScriptsPage.vue') },
  { path: '/scripts/new', name: 'new-script', component: () => import('@/pages/EditScriptPage.vue') },
  {
    path: '/scripts/edit/:path',
    name: 'edit-script',
    component: () => import('@/pages/EditScriptPage.vue'),
    props: true,
  },
  {
    path: '/settings/:tab?',
    name: 'settings',
    component: () => import('@/pages/SettingsPage.vue'),
    props: true,
  },
  { path: '/:rest(.*)*', name: 'not-found', component: () => import('@/pages/NotFoundPage.vue') },
]

/*
 * Addresses live behind the `#`: the page works below any path, every address of it can be passed on, and the server has one
 * file to serve.
 */
export function createPageRouter(queries: QueryClient): Router {
  const router = createRouter({
    history: createWebHashHistory(),
    // Where one comes from nowhere, one is at the top.
    scrollBehavior: (_to, from, saved) => saved ?? (from.matched.length > 0 && { top: 0 }),
    routes,
  })
  router.beforeEach((to, from) => {
    if (to.name !== from.name) begin(to, queries)
  })
  router.beforeEach(admit)
  return router
}

/** Loads a page and asks for what it shows at once, instead of one after the other. Whoever waits for them hears what goes wrong. */
function begin(to: RouteLocationNormalized, queries: QueryClient): void {
  to.meta.askAhead?.(queries, to)
  for (const record of to.matched) {
    const load = record.components?.default as undefined | (() => Promise<unknown>)
    if (typeof load === 'function') load().catch(() => undefined)
  }
}

/** Lets in who is logged in; others are asked for a token first. */
async function admit(to: RouteLocationNormalized): Promise<boolean | RouteLocationRaw> {
  if (to.meta.isOpen) return true
  const confirmed = resumeSession()
  // A session that has ended since the last time ends here like any other, by the refusal.
  if (session.value) {
    confirmed.catch(() => undefined)
    return true
  }
  try {
    await confirmed
    return true
  } catch (error) {
    // Without an answer the page itself says so; only a refusal asks for a token.
    if (error instanceof Problem && error.status === 401) return { name: 'login', query: { to: to.fullPath } }
    return true
  }
}

function asNumber(route: RouteLocationNormalized) {
  return { id: Number(route.params.id) }
}
