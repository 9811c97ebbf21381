import { mount } from '@vue/test-utils'
import { describe, expect, it } from 'vitest'

import ChangeView from '@/components/ChangeView.vue'
import JsonTree from '@/components/JsonTree.vue'
import Traceback from '@/components/Traceback.vue'
import ValueView from '@/components/ValueView.vue'
import { ExactNumber } from '@/value/json'

describe('a value', () => {
  it('is a tree that can be folded', async () => {
    const tree = mount(JsonTree, { props: { value: { price: 42.1, stock: { berlin: 7 } } } })
    expect(tree.text()).toContain('berlin')
    await tree.find('button').trigger('click')
    expect(tree.text()).not.toContain('berlin')
    expect(tree.find('button').attributes('aria-expanded')).toBe('false')
    expect(tree.text()).toContain('2 items')
  })

  it('shows every digit, and text as text', () => {
    const tree = mount(JsonTree, {
      props: { value: [new ExactNumber('12345678901234567890'), '<b>bold</b>'] },
    })
    expect(tree.text()).toContain('12345678901234567890')
    expect(tree.text()).toContain('"<b>bold</b>"')
    expect(tree.find('b').exists()).toBe(false)
  })

  it('comes in pieces if it is long', async () => {
    const tree = mount(JsonTree, { props: { value: Array.from({ length: 250 }, (_, index) => index) } })
    await tree.find('button').trigger('click')
    expect(tree.findAll('.leaf')).toHaveLength(100)
    await tree.find('.more').trigger('click')
    expect(tree.findAll('.leaf')).toHaveLength(250)
  })

  it('is a table where it is a list of records, or a tree if somebody wants that', async () => {
    const view = mount(ValueView, { props: { value: [{ host: 'a', days: 12 }, { host: 'b' }] } })
    expect(view.findAll('th').map((head) => head.text())).toEqual(['host', 'days'])
    expect(view.findAll('td').map((cell) => cell.text())).toEqual(['a', '12', 'b', ''])
    await view.findAll('button')[1]?.trigger('click')
    expect(view.find('table').exists()).toBe(false)
    expect(view.text()).toContain('host')
  })

  it('is plain where it is plain', () => {
    expect(
      mount(ValueView, { props: { value: 'fine' } })
        .find('.plain')
        .text(),
    ).toBe('fine')
    expect(
      mount(ValueView, { props: { value: 0 } })
        .find('.plain')
        .text(),
    ).toBe('0')
  })

  it('is scrolled where it is a long text', () => {
    const view = (value: string) => mount(ValueView, { props: { value } }).find('.plain')
    expect(view('short').classes()).not.toContain('scroll')
    expect(view('one\ntwo').element.textContent).toBe('one\ntwo')
    expect(view('one\ntwo').classes()).toContain('scroll')
    expect(view('x'.repeat(900)).attributes('tabindex')).toBe('0')
    const tree = mount(JsonTree, { props: { value: ['short', 'x'.repeat(9000)] } })
    expect(tree.findAll('.leaf .string').map((leaf) => leaf.classes().includes('long'))).toEqual([
      false,
      true,
    ])
  })
})

describe('a traceback', () => {
  const text = [
    'Traceback (most recent call last):',
    '  File "/srv/scripts/prices/btc.py", line 12, in run',
    '    fetch()',
    '  File "/usr/lib/python3/json/decoder.py", line 355, in raw_decode',
    'ValueError: <b>no</b>',
    '',
  ].join('\n')
  const frames = [
    { file: '/srv/scripts/prices/btc.py', line: 12, function: 'run', is_script: true },
    { file: '/usr/lib/python3/json/decoder.py', line: 355, function: 'raw_decode', is_script: false },
  ]

  it('leads from lines of the script to that line of the version that ran', () => {
    const shown = mount(Traceback, { props: { text, frames, task: 'prices/btc', sha256: 'abc' } })
    const links = shown.findAll('a')
    expect(links.map((link) => link.attributes('href'))).toEqual([
      '#/tasks/prices%2Fbtc/script?version=abc&line=12',
    ])
    expect(shown.find('b').exists()).toBe(false)
    expect(shown.text()).toContain('ValueError: <b>no</b>')
  })

  it('leads nowhere without a version', () => {
    expect(mount(Traceback, { props: { text, frames, task: 'x', sha256: null } }).findAll('a')).toEqual([])
  })
})

describe('a change', () => {
  it('says what was and what is, key by key', () => {
    const change = mount(ChangeView, {
      props: { before: { schedule: ['@daily'] }, after: { schedule: ['@hourly'], owner: 'x' } },
    })
    expect(change.findAll('li').map((line) => line.text())).toEqual(['schedule @daily → @hourly', 'owner x'])
  })
})
