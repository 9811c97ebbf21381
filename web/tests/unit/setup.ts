import { config } from '@vue/test-utils'

import { i18n } from '@/i18n'
import { router } from '@/router'

config.global.plugins = [i18n, router]
