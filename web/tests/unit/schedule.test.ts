import { VueQueryPlugin } from '@tanstack/vue-query'
import { flushPromises, mount } from '@vue/test-utils'
import { NMessageProvider } from 'naive-ui'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { h, ref } from 'vue'

import type { Task } from '@/api/model'
import ScheduleTab from '@/pages/task/ScheduleTab.vue'

vi.mock('@/session', () => ({ session: ref(null), mayOperate: ref(true) }))

const TASK = {
  name: 'a',
  schedule: ['@daily'],
  timezone: 'UTC',
  schedule_override: ['@daily'],
  timezone_override: null,
} as unknown as Task

describe('a schedule of one’s own', () => {
  afterEach(() => vi.unstubAllGlobals())

  function tab() {
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ times: [] })))
    const task = ref(TASK)
    const shown = mount(NMessageProvider, {
      slots: { default: () => h(ScheduleTab, { task: task.value }) },
      global: { plugins: [VueQueryPlugin], stubs: { SchedulePreview: true } },
    })
    const become = async (change: Partial<Task>) => {
      task.value = { ...TASK, ...change }
      await flushPromises()
    }
    const text = () => shown.find('textarea').element.value
    return { shown, become, text }
  }

  it('is not lost while it is typed, however often the task is looked at', async () => {
    const { shown, become, text } = tab()
    await shown.find('textarea').setValue('15 4 * * *')
    await become({ schedule: ['@daily'] })
    expect(text()).toBe('15 4 * * *')
    await become({ schedule: ['@weekly'] })
    expect(text()).toBe('15 4 * * *')
  })

  it('is that of the task until somebody types', async () => {
    const { become, text } = tab()
    await become({ schedule: ['@weekly', '@monthly'] })
    expect(text()).toBe('@weekly\n@monthly')
  })

  it('does not stay where another task is shown', async () => {
    const { shown, become, text } = tab()
    await shown.find('textarea').setValue('15 4 * * *')
    await become({ name: 'b' })
    expect(text()).toBe('@daily')
  })

  it('gives way to that of the header where somebody goes back to it', async () => {
    const { shown, become, text } = tab()
    await shown.find('textarea').setValue('15 4 * * *')
    await shown
      .findAll('button')
      .find((button) => button.text() === 'Back to the header')
      ?.trigger('click')
    await flushPromises()
    await become({ schedule: ['@weekly'] })
    expect(text()).toBe('@weekly')
  })
})
