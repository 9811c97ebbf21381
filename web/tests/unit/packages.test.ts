import { VueQueryPlugin } from '@tanstack/vue-query'
import { flushPromises, mount } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'

import type { HeaderKey, Task } from '@/api/model'
import PackagesTab from '@/pages/task/PackagesTab.vue'

const READY = {
  requirements_sha256: 'a'.repeat(64),
  requirements: { source: 'header', packages: ['attrs>=23', 'idna'] },
  state: 'ready',
  problem: null,
  log: 'Installed 2 packages',
  lock: {
    sha256: 'b'.repeat(64),
    python: '3.11',
    locked_at: '2026-11-01T10:00:00Z',
    packages: [
      { name: 'attrs', version: '26.1.0', marker: null },
      { name: 'colorama', version: '0.4.6', marker: "sys_platform == 'win32'" },
    ],
  },
  installed: {
    python: '3.11.7',
    size_bytes: 1_572_864,
    own_bytes: 4096,
    created_at: '2026-11-01T10:01:00Z',
    used_at: '2026-11-20T03:00:00Z',
    in_use: false,
  },
  changed_at: '2026-11-01T10:01:00Z',
  tasks: ['prices/btc', 'prices/eth'],
  is_next: false,
}
const NEXT = {
  ...READY,
  requirements_sha256: 'c'.repeat(64),
  requirements: { source: { file: 'prices/requirements.txt' }, packages: ['nosuch==1'] },
  state: 'needs_attention',
  problem: 'there is no <b>nosuch</b>',
  log: 'there is no <b>nosuch</b>\n',
  lock: null,
  installed: null,
  tasks: ['prices/btc'],
  is_next: true,
}

async function tab(items: unknown[]) {
  vi.stubGlobal('fetch', () =>
    Promise.resolve(
      new Response(JSON.stringify({ items }), { headers: { 'Content-Type': 'application/json' } }),
    ),
  )
  const header = [
    { key: 'requires-python', value: '>=3.9', source: 'header', words: '', default: '' },
    { key: 'python', value: null, source: 'default', words: '', default: '' },
  ] as HeaderKey[]
  const shown = mount(PackagesTab, {
    props: { task: { name: 'prices/btc', timezone: 'UTC' } as Task, header },
    global: { plugins: [VueQueryPlugin] },
  })
  await vi.waitFor(async () => {
    await flushPromises()
    expect(shown.find('section').exists()).toBe(true)
  })
  return shown
}

describe('the packages of a task', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('are told with their lock, and what there is of them here', async () => {
    const shown = await tab([NEXT, READY])
    const [inForce, next] = shown.findAll('section')
    for (const text of [
      'In force',
      'ready',
      '>=3.9',
      'bbbbbbbbbbbb',
      'Python 3.11 and newer',
      '3.11.7',
      '1.5 MiB',
      '2026-11-01 10:01:00',
      '2026-11-20 03:00:00',
      'attrs>=23',
      'Shared with prices/eth',
      "sys_platform == 'win32'",
      'What was said while it was built',
    ]) {
      expect(inForce?.text()).toContain(text)
    }
    expect(next?.text()).toContain('What the file asks for now')
    expect(next?.text()).toContain('there is no <b>nosuch</b>')
    expect(next?.text()).toContain('prices/requirements.txt')
    // What was said is what is wrong: once is enough.
    expect(next?.text()).not.toContain('What was said')
  })

  it('are none where it asks for none', async () => {
    const shown = await tab([])
    expect(shown.text()).toContain('It asks for no packages')
    expect(shown.text()).toContain('>=3.9')
  })

  it('may be on another machine', async () => {
    const shown = await tab([{ ...READY, installed: null }])
    expect(shown.text()).toContain('It is not on the machine that serves this page.')
    expect(shown.text()).not.toContain('Size on disk')
  })
})
