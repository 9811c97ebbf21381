import { describe, expect, it } from 'vitest'

import { Terminal, type Line } from '@/output/terminal'

function lines(...chunks: string[]): readonly Line[] {
  const terminal = new Terminal()
  for (const chunk of chunks) terminal.write(chunk)
  return terminal.lines
}

function texts(...chunks: string[]): string[] {
  return lines(...chunks).map((line) => line.text)
}

describe('output', () => {
  it('is split into lines, the last of which may go on', () => {
    expect(texts('one\ntw', 'o\n\nfour')).toEqual(['one', 'two', '', 'four'])
  })

  it('keeps colors over lines until they are reset', () => {
    const [first, second] = lines('\x1b[1;31mbad\nstill\x1b[0m good')
    expect(first?.segments).toEqual([{ text: 'bad', style: { bold: true, foreground: 1 } }])
    expect(second?.segments).toEqual([
      { text: 'still', style: { bold: true, foreground: 1 } },
      { text: ' good', style: {} },
    ])
  })

  it('knows bright, indexed and true colors', () => {
    const style = (codes: string) => lines(`\x1b[${codes}mx`)[0]?.segments[0]?.style
    expect(style('92')).toEqual({ foreground: 10 })
    expect(style('44')).toEqual({ background: 4 })
    expect(style('38;5;9')).toEqual({ foreground: 9 })
    expect(style('38;5;196')).toEqual({ foreground: '#ff0000' })
    expect(style('48;5;232')).toEqual({ background: '#080808' })
    expect(style('38;2;1;2;3')).toEqual({ foreground: '#010203' })
    expect(style('38;2;1;2;999')).toEqual({})
    expect(style('38:5:9')).toEqual({ foreground: 9 })
  })

  it('puts an escape sequence together that came in two chunks', () => {
    expect(lines('a\x1b[3', '1mb')[0]?.segments).toEqual([
      { text: 'a', style: {} },
      { text: 'b', style: { foreground: 1 } },
    ])
  })

  it('drops sequences that it does not follow, such as titles and links', () => {
    expect(
      texts('\x1b]0;title\x07a\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\\x1b[?25lb\x1b(Bc'),
    ).toEqual(['alinkbc'])
  })

  it('lets a progress bar overwrite its line', () => {
    expect(texts('10%\rat 100%\rdone')).toEqual(['done00%'])
    expect(texts('long text\r\x1b[Kshort\n')).toEqual(['short'])
    expect(texts('ab\bc')).toEqual(['ac'])
    expect(texts('windows\r\nlines\r\n')).toEqual(['windows', 'lines'])
  })

  it('overwrites in the color of what comes later', () => {
    expect(lines('\x1b[31mred\x1b[0m\rx')[0]?.segments).toEqual([
      { text: 'x', style: {} },
      { text: 'ed', style: { foreground: 1 } },
    ])
  })

  it('gives up on a sequence that never ends', () => {
    const endless = `\x1b[${'1;'.repeat(5000)}`
    expect(texts(endless, 'after').join('')).toContain('after')
  })

  it('shows tabs as columns', () => {
    expect(texts('a\tb')).toEqual(['a       b'])
  })
})
