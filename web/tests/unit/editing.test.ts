import { VueQueryPlugin } from '@tanstack/vue-query'
import { flushPromises, mount, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ref } from 'vue'

import App from '@/App.vue'

vi.mock('@/session', () => ({
  session: ref({ name: 'a', role: 'admin' }),
  mayOperate: ref(true),
  mayAdminister: ref(true),
}))

/* happy-dom has no layout, which the editor measures. */
const CodeEditor = {
  props: ['modelValue'],
  emits: ['update:modelValue'],
  template: '<textarea :value="modelValue" @input="$emit(\'update:modelValue\', $event.target.value)" />',
}

const FILES: Record<string, string> = { 'a/one.py': 'ONE = 1', 'a/two.py': 'TWO = 2' }

describe('the editor of a script', () => {
  let written: { path: string; headers: Headers; content: string }[]
  let answerWrite: () => Promise<Response>

  beforeEach(() => {
    written = []
    answerWrite = () => Promise.resolve(Response.json({ sha256: 'new' }))
    vi.stubGlobal('fetch', async (request: Request) => {
      const path = decodeURIComponent(new URL(request.url).pathname).replace('/api/v1/', '')
      const file = path.replace('scripts/', '')
      if (request.method === 'PUT') {
        const body = (await request.json()) as { content: string }
        written.push({ path: file, headers: request.headers, content: body.content })
        return answerWrite()
      }
      if (path === 'scripts/validate')
        return Response.json({ problems: [], header: {}, standing: 'task', timezone: 'UTC' })
      if (path === 'overview') return Response.json({ now: '2026-11-28T12:00:00Z', scripts_writable: true })
      return Response.json(
        file in FILES ? { content: FILES[file], sha256: `sha of ${file}` } : { items: [], next_cursor: null },
      )
    })
    window.confirm = vi.fn(() => false)
  })
  afterEach(() => vi.unstubAllGlobals())

  async function at(address: string): Promise<VueWrapper> {
    const app = mount(App, {
      global: {
        plugins: [VueQueryPlugin],
        stubs: { AppHeader: true, ContactNote: true, CodeEditor, TaskPage: true },
      },
    })
    await app.vm.$router.push(address)
    await settle(app)
    return app
  }

  async function settle(app: VueWrapper): Promise<void> {
    await vi.waitFor(async () => {
      await flushPromises()
      expect(app.find('textarea').exists()).toBe(true)
    })
  }

  const text = (app: VueWrapper) => app.find('textarea').element.value
  const button = (app: VueWrapper, name: string) =>
    app.findAll('button').find((one) => one.text() === name) as ReturnType<VueWrapper['find']>

  it('begins anew where another script is opened, or none', async () => {
    const app = await at('/scripts/edit/a%2Fone.py')
    expect(text(app)).toBe('ONE = 1')
    await app.vm.$router.push('/scripts/edit/a%2Ftwo.py')
    await settle(app)
    expect(text(app)).toBe('TWO = 2')
    await app.vm.$router.push('/scripts/new')
    await settle(app)
    expect(text(app)).toContain('def run')
    expect(app.find<HTMLInputElement>('.path input').element.value).toBe('')
  })

  it('is not left with something unsaved, unless somebody means it', async () => {
    const app = await at('/scripts/edit/a%2Fone.py')
    await app.find('textarea').setValue('ONE = 3')
    await app.vm.$router.push('/scripts/edit/a%2Ftwo.py')
    await flushPromises()
    expect(window.confirm).toHaveBeenCalledOnce()
    expect(text(app)).toBe('ONE = 3')
  })

  it('counts as saved what was sent, and not what was typed meanwhile', async () => {
    const app = await at('/scripts/edit/a%2Fone.py')
    let answer: (response: Response) => void = () => undefined
    answerWrite = () => new Promise((resolve) => (answer = resolve))
    await app.find('textarea').setValue('ONE = 3')
    await button(app, 'Save').trigger('click')
    await vi.waitFor(() => expect(written.length).toBe(1))
    await app.find('textarea').setValue('ONE = 4')
    answer(Response.json({ sha256: 'third' }))
    await vi.waitFor(() => expect(button(app, 'Save').classes().join()).not.toContain('loading'))
    expect(button(app, 'Save').attributes('disabled')).toBeUndefined()
    answerWrite = () => Promise.resolve(Response.json({ sha256: 'fourth' }))
    await button(app, 'Save').trigger('click')
    await vi.waitFor(() => expect(written.length).toBe(2))
    expect(written.map((one) => one.content)).toEqual(['ONE = 3', 'ONE = 4'])
    expect(written.map((one) => one.headers.get('If-Match'))).toEqual(['"sha of a/one.py"', '"third"'])
  })

  it('leads to the file that has the path of a new script already', async () => {
    const app = await at('/scripts/new')
    answerWrite = () =>
      Promise.resolve(Response.json({ title: 'Precondition Failed', detail: 'it is there' }, { status: 412 }))
    await app.find('.path input').setValue('a/one.py')
    await button(app, 'Save and schedule').trigger('click')
    await vi.waitFor(() => expect(app.find('.note.bad').exists()).toBe(true))
    expect(written[0]?.headers.get('If-None-Match')).toBe('*')
    expect(app.find('.note.bad').text()).toContain('There is a file a/one.py already')
    expect(app.find('.note.bad a').attributes('href')).toBe('#/scripts/edit/a%2Fone.py')
  })
})
