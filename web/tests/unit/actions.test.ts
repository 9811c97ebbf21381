import { VueQueryPlugin } from '@tanstack/vue-query'
import { flushPromises, mount } from '@vue/test-utils'
import { NMessageProvider } from 'naive-ui'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { defineComponent, h } from 'vue'

import { useActions } from '@/actions'

describe('what a person does', () => {
  let asked: string[]
  let answers: ((response: Response) => void)[]

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    asked = []
    answers = []
    vi.stubGlobal('fetch', (request: Request) => {
      asked.push(new URL(request.url).pathname.replace('/api/v1/', ''))
      return new Promise<Response>((resolve) => answers.push(resolve))
    })
  })
  afterEach(() => {
    vi.runAllTimers()
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  function actions(): ReturnType<typeof useActions> {
    let found!: ReturnType<typeof useActions>
    const Child = defineComponent({
      setup() {
        found = useActions()
        return () => null
      },
    })
    mount(NMessageProvider, { slots: { default: () => h(Child) }, global: { plugins: [VueQueryPlugin] } })
    return found
  }

  async function answer(body: unknown, status = 200): Promise<void> {
    answers.shift()?.(Response.json(body, { status }))
    await flushPromises()
  }

  it('starts one run with a double click, whenever the answer comes', async () => {
    const { startQuietly } = actions()
    void startQuietly('a')
    void startQuietly('a')
    await flushPromises()
    expect(asked).toEqual(['tasks/a/runs'])
    await answer({ run: { run_id: 7 } })
    // Another component has actions of its own, but not another finger.
    void actions().startQuietly('a')
    void startQuietly('b')
    await flushPromises()
    expect(asked).toEqual(['tasks/a/runs', 'tasks/b/runs'])
  })

  it('starts another where somebody asks again', async () => {
    const { startQuietly } = actions()
    void startQuietly('a')
    await flushPromises()
    await answer({ title: 'no' }, 503)
    vi.advanceTimersByTime(1000)
    await flushPromises()
    void startQuietly('a')
    await flushPromises()
    expect(asked.length).toBe(2)
  })

  it('does not cancel with the second click what the first one started', async () => {
    const { retry, cancel } = actions()
    void retry(7)
    void retry(7)
    await flushPromises()
    await answer({ run: { run_id: 8 } })
    void cancel(8)
    await flushPromises()
    expect(asked).toEqual(['runs/7/retry'])
    // The page of a run comes in a file of its own.
    await vi.dynamicImportSettled()
    vi.advanceTimersByTime(1000)
    await flushPromises()
    void cancel(8)
    await flushPromises()
    expect(asked).toEqual(['runs/7/retry', 'runs/8/cancel'])
  })
})
