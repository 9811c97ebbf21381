import {
  createRouter,
  createWebHashHistory,
  type RouteLocationNormalized,
  type RouteLocationRaw,
  type Router,
  type RouteRecordRaw,
} from 'vue-router'

import { Problem } from '@/api/problem'
import { resumeSession, session } from '@/session'

/** The pages, each a chunk of its own. */
export const routes: RouteRecordRaw[] = [
  { path: '/', name: 'home', component: () => import('@/pages/HomePage.vue') },
  {
    path: '/login',
    name: 'login',
    component: () => import('@/pages/LoginPage.vue'),
    meta: { isOpen: true },
  },
  { path: '/tasks', name: 'tasks', component: () => import('@/pages/TasksPage.vue') },
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
export function createPageRouter(): Router {
  const router = createRouter({
    history: createWebHashHistory(),
    scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
    routes,
  })
  router.beforeEach(admit)
  return router
}

/** Lets in who is logged in; others are asked for a token first. */
async function admit(to: RouteLocationNormalized): Promise<boolean | RouteLocationRaw> {
  if (to.meta.isOpen || session.value) return true
  try {
    await resumeSession()
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
