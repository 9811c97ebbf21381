import { config, enableAutoUnmount } from '@vue/test-utils'
import { afterEach } from 'vitest'
import { createRouter, createWebHashHistory } from 'vue-router'

import { i18n } from '@/i18n'
import { routes } from '@/router'

// The pages' addresses without the guard, which would ask a server who is logged in.
const router = createRouter({ history: createWebHashHistory(), routes })

config.global.plugins = [i18n, router]
enableAutoUnmount(afterEach)
