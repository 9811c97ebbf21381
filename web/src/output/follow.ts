import { onScopeDispose, ref, shallowRef, watch, type Ref } from 'vue'

import * as calls from '@/api/calls'
import type { Chunk } from '@/api/model'

import { Terminal, type Line } from './terminal'

/** What a run has printed so far. */
export interface Followed {
  lines: Ref<readonly Line[]>
  /** Goes up with every change of the lines, which are not watched one by one. */
  version: Ref<number>
  /** Whether more is awaited. */
  isLive: Ref<boolean>
  /** Whether the connection broke off and is made again. */
  isBroken: Ref<boolean>
  error: Ref<unknown>
  /** Reads it anew. */
  retry: () => void
}

/** After what time a connection is made again that the browser has given up. */
const AGAIN_MS = 5000

/**
 * Reads what a run prints: of one that goes on by events, from the beginning; of one that has ended page by page. When the events
 * end, it is read once more, since a line that says what was left out comes last and belongs further up.
 */
export function useOutput(runId: Ref<number | undefined>, isActive: Ref<boolean>): Followed {
  const lines = shallowRef<readonly Line[]>([])
  const version = ref(0)
  const isLive = ref(false)
  const isBroken = ref(false)
  const error = shallowRef<unknown>()
  let source: EventSource | undefined
  let timer: number | undefined
  let turn = 0

  watch(
    [runId, isActive],
    ([id, active], before) => {
      if (id === undefined) return
      const isAnother = id !== before[0]
      // The end of a run that is followed comes by its events.
      if (!isAnother && source) return
      if (isAnother) show(new Terminal())
      begin(id, active)
    },
    { immediate: true },
  )
  onScopeDispose(() => {
    turn += 1
    close()
  })

  function begin(id: number, active: boolean): void {
    turn += 1
    close()
    error.value = undefined
    isLive.value = active
    if (active) follow(id, turn)
    else void read(id, turn)
  }

  function follow(id: number, mine: number): void {
    const terminal = new Terminal()
    let last = -1
    show(terminal)
    connect()

    function connect(): void {
      const made = new EventSource(calls.outputEvents(id), { withCredentials: true })
      source = made
      made.addEventListener('open', () => (isBroken.value = false))
      made.addEventListener('error', () => {
        if (made !== source) return
        // An answer that is none, as a proxy gives while the server starts anew, is the last one for a browser.
        if (made.readyState === EventSource.CLOSED) {
          close()
          timer = window.setTimeout(connect, AGAIN_MS)
        }
        isBroken.value = true
      })
      made.addEventListener('chunk', take)
      made.addEventListener('message', take)
      made.addEventListener('end', () => {
        close()
        void read(id, mine)
      })
    }

    function take(event: MessageEvent<string>): void {
      const chunk = JSON.parse(event.data) as Chunk
      if (mine !== turn || chunk.number <= last) return
      last = chunk.number
      terminal.write(chunk.text)
      version.value += 1
    }
  }

  async function read(id: number, mine: number): Promise<void> {
    try {
      const terminal = new Terminal()
      let from: number | null = 0
      while (from !== null) {
        const page: Awaited<ReturnType<typeof calls.output>> = await calls.output(id, from)
        if (mine !== turn) return
        for (const chunk of page.chunks) terminal.write(chunk.text)
        from = page.complete || page.chunks.length === 0 ? null : page.next
      }
      error.value = undefined
      show(terminal)
    } catch (problem) {
      if (mine === turn) error.value = problem
    } finally {
      if (mine === turn) isLive.value = false
    }
  }

  function show(terminal: Terminal): void {
    lines.value = terminal.lines
    version.value += 1
  }

  function close(): void {
    source?.close()
    source = undefined
    window.clearTimeout(timer)
    isBroken.value = false
  }

  function retry(): void {
    if (runId.value !== undefined) begin(runId.value, isActive.value)
  }

  return { lines, version, isLive, isBroken, error, retry }
}
