import { flushPromises, mount } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { defineComponent, nextTick, ref, type MaybeRef } from 'vue'

import OutputView from '@/components/OutputView.vue'
import { useOutput } from '@/output/follow'
import { Terminal } from '@/output/terminal'

/* happy-dom has no layout: a list would find no room for rows. */
vi.mock('@tanstack/vue-virtual', async () => {
  const { computed, unref } = await import('vue')
  return {
    useVirtualizer: (options: MaybeRef<{ count: number }>) =>
      computed(() => {
        const { count } = unref(options)
        return {
          getVirtualItems: () =>
            Array.from({ length: count }, (_, index) => ({ index, start: index * 19, size: 19 })),
          getTotalSize: () => count * 19,
          scrollToIndex: () => undefined,
          measureElement: () => undefined,
        }
      }),
  }
})

function view(text: string) {
  const terminal = new Terminal()
  terminal.write(text)
  return mount(OutputView, { props: { lines: terminal.lines, version: 1 } })
}

describe('the view of output', () => {
  it('shows what looks like HTML as text', () => {
    const shown = view('<img src=x onerror=alert(1)><script>alert(2)</script>\n')
    expect(shown.find('.line img').exists()).toBe(false)
    expect(shown.find('.line script').exists()).toBe(false)
    expect(shown.find('.text').text()).toBe('<img src=x onerror=alert(1)><script>alert(2)</script>')
  })

  it('shows colors', () => {
    const piece = view('\x1b[31mred\x1b[0m').find('.text span')
    expect(piece.text()).toBe('red')
    expect(piece.attributes('style')).toContain('var(--ansi-1)')
  })

  it('finds text across colors, and counts lines that have it', async () => {
    const shown = view('an err\x1b[31mor here\nnothing\nERROR again\n')
    await shown.find('input').setValue('error')
    expect(shown.find('[role=status]').text()).toBe('1 of 2')
    expect(shown.findAll('mark').map((mark) => mark.text())).toEqual(['err', 'or', 'ERROR'])
    expect(shown.find('.line').text()).toContain('an error here')
    await shown.find('input').trigger('keydown', { key: 'Enter' })
    expect(shown.find('[role=status]').text()).toBe('2 of 2')
    await shown.find('input').setValue('absent')
    expect(shown.find('[role=status]').text()).toBe('not found')
  })

  it('says if there is nothing', () => {
    expect(view('').text()).toContain('It printed nothing.')
  })
})

class Events extends EventTarget {
  static readonly CLOSED = 2
  static last: Events | undefined
  isClosed = false
  readyState = 1
  constructor(readonly url: string) {
    super()
    Events.last = this
  }
  close() {
    this.isClosed = true
  }
  giveUp() {
    this.readyState = Events.CLOSED
    this.dispatchEvent(new Event('error'))
  }
  chunk(number: number, text: string) {
    this.dispatchEvent(new MessageEvent('chunk', { data: JSON.stringify({ number, text, at: '' }) }))
  }
}

describe('output that is followed', () => {
  let answers: unknown[]

  beforeEach(() => {
    Events.last = undefined
    answers = []
    vi.stubGlobal('EventSource', Events)
    vi.stubGlobal(
      'fetch',
      vi.fn(() => Promise.resolve(Response.json(answers.shift()))),
    )
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  function follow(active: boolean) {
    const isActive = ref(active)
    const runId = ref(7)
    let followed!: ReturnType<typeof useOutput>
    const wrapper = mount(
      defineComponent({
        setup() {
          followed = useOutput(runId, isActive)
          return () => null
        },
      }),
    )
    const texts = () => (followed.version.value >= 0 ? followed.lines.value.map((line) => line.text) : [])
    return { isActive, runId, followed, texts, wrapper }
  }

  it('comes by events while the run goes on, each chunk once', () => {
    const { texts, followed } = follow(true)
    const events = Events.last
    expect(events?.url).toMatch(/\/api\/v1\/runs\/7\/output\/events$/)
    events?.chunk(0, 'one\n')
    events?.chunk(1, 'two\n')
    events?.chunk(1, 'two\n')
    expect(texts()).toEqual(['one', 'two'])
    expect(followed.isLive.value).toBe(true)
  })

  it('is read once more at its end, where what was left out stands in its place', async () => {
    const { texts, followed } = follow(true)
    Events.last?.chunk(0, 'one\n')
    answers = [
      {
        chunks: [
          { number: 0, text: 'one\n' },
          { number: 1, text: '[5 bytes left out]\n' },
        ],
        next: 2,
        complete: true,
      },
    ]
    Events.last?.dispatchEvent(new Event('end'))
    expect(Events.last?.isClosed).toBe(true)
    await flushPromises()
    expect(texts()).toEqual(['one', '[5 bytes left out]'])
    expect(followed.isLive.value).toBe(false)
  })

  it('goes on after a connection that broke, and says so meanwhile', async () => {
    const { followed, texts } = follow(true)
    Events.last?.chunk(0, 'one\n')
    Events.last?.dispatchEvent(new Event('error'))
    expect(followed.isBroken.value).toBe(true)
    Events.last?.dispatchEvent(new Event('open'))
    expect(followed.isBroken.value).toBe(false)
    Events.last?.chunk(1, 'two\n')
    await nextTick()
    expect(texts()).toEqual(['one', 'two'])
  })

  it('is followed again where the browser gave up', async () => {
    vi.useFakeTimers()
    const { followed, texts } = follow(true)
    const first = Events.last
    first?.chunk(0, 'one\n')
    first?.giveUp()
    expect(followed.isBroken.value).toBe(true)
    expect(texts()).toEqual(['one'])
    await vi.advanceTimersByTimeAsync(5000)
    expect(Events.last).not.toBe(first)
    Events.last?.dispatchEvent(new Event('open'))
    Events.last?.chunk(0, 'one\n')
    Events.last?.chunk(1, 'two\n')
    expect(followed.isBroken.value).toBe(false)
    expect(texts()).toEqual(['one', 'two'])
  })

  it('is read of a run that ended after the browser gave up', async () => {
    vi.useFakeTimers()
    const { isActive, followed, texts } = follow(true)
    const first = Events.last
    first?.giveUp()
    answers = [{ chunks: [{ number: 0, text: 'one\n' }], next: 1, complete: true }]
    isActive.value = false
    await vi.advanceTimersByTimeAsync(6000)
    expect(texts()).toEqual(['one'])
    expect(Events.last).toBe(first)
    expect(followed.isLive.value).toBe(false)
    expect(followed.isBroken.value).toBe(false)
  })

  it('is read anew when somebody asks, and its failure is not that of another run', async () => {
    const one = { chunks: [{ number: 0, text: 'one\n' }], next: 1, complete: true }
    const refused = () => Promise.resolve(Response.json({ title: 'no' }, { status: 500 }))
    vi.stubGlobal('fetch', vi.fn(refused))
    const { followed, runId, texts } = follow(false)
    await flushPromises()
    expect(followed.error.value).toBeDefined()
    runId.value = 8
    await nextTick()
    expect(followed.error.value).toBeUndefined()
    await flushPromises()
    expect(followed.error.value).toBeDefined()
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json(one)))
    followed.retry()
    await flushPromises()
    expect(followed.error.value).toBeUndefined()
    expect(texts()).toEqual(['one'])
  })

  it('of a run that has ended is read page by page', async () => {
    answers = [
      { chunks: [{ number: 0, text: 'one\n' }], next: 1, complete: false },
      { chunks: [{ number: 1, text: 'two\n' }], next: 2, complete: true },
    ]
    const { texts } = follow(false)
    await flushPromises()
    expect(texts()).toEqual(['one', 'two'])
    expect(Events.last).toBeUndefined()
  })

  it('is no longer asked for when nobody looks', () => {
    const { wrapper } = follow(true)
    wrapper.unmount()
    expect(Events.last?.isClosed).toBe(true)
  })
})
