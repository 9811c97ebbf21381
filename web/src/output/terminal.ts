/*
 * What scripts print, as lines of styled text. Colors and the like (SGR), carriage returns, backspaces and erasing within
 * the line are followed, as a terminal would; other escape sequences are dropped. Nothing here makes HTML: a view sets text.
 */

/** How a piece of text looks. Colors are `0`-`15` of the palette, or `#rrggbb`. */
export interface Style {
  foreground?: number | string
  background?: number | string
  bold?: boolean
  dim?: boolean
  italic?: boolean
  underline?: boolean
  strike?: boolean
  inverse?: boolean
}

/** A piece of a line in one style. */
export interface Segment {
  text: string
  style: Style
}

/** One line of output. */
export interface Line {
  segments: Segment[]
  /** The same without styles, for search and copying. */
  text: string
}

const PLAIN: Style = Object.freeze({})
// CSI, OSC and its kin up to their terminator, and two-character escapes.
// eslint-disable-next-line no-control-regex -- escape sequences are made of control characters
const ESCAPE = /\x1b(?:\[([0-9:;<=>?]*)[ -/]*([@-~])|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])/y
// What may still become one with the next chunk.
// eslint-disable-next-line no-control-regex -- escape sequences are made of control characters
const UNFINISHED = /\x1b(?:\[[0-9:;<=>?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?$/
const LONGEST_UNFINISHED = 4096
const TAB = 8

/** Text as it comes, line by line. */
export class Terminal {
  /** Lines so far; the last one may still change. */
  readonly lines: Line[] = []
  private style: Style = PLAIN
  private cells: { text: string; style: Style }[] = []
  private cursor = 0
  private pending = ''
  private open = false

  /** Goes on with what was printed next. */
  write(text: string): void {
    const all = this.pending + text
    const unfinished = UNFINISHED.exec(all)
    const end =
      unfinished && all.length - unfinished.index < LONGEST_UNFINISHED ? unfinished.index : all.length
    this.pending = all.slice(end)
    this.read(all.slice(0, end))
    if (this.open) this.lines[this.lines.length - 1] = this.line()
  }

  private read(text: string): void {
    let at = 0
    while (at < text.length) {
      const character = text[at] as string
      if (character === '\x1b') {
        ESCAPE.lastIndex = at
        const escape = ESCAPE.exec(text)
        at += escape ? escape[0].length : 1
        if (escape?.[2] !== undefined) this.control(escape[1] ?? '', escape[2])
      } else if (character < ' ' || character === '\x7f') {
        this.move(character)
        at += 1
      } else {
        const end = endOfText(text, at)
        this.put(text.slice(at, end))
        at = end
      }
    }
  }

  private move(character: string): void {
    if (character === '\n') {
      this.begin()
      this.lines[this.lines.length - 1] = this.line()
      this.cells = []
      this.cursor = 0
      this.open = false
    } else if (character === '\r') {
      this.cursor = 0
    } else if (character === '\b') {
      this.cursor = Math.max(0, this.cursor - 1)
    } else if (character === '\t') {
      this.put(' '.repeat(TAB - (this.cursor % TAB)))
    }
  }

  private put(text: string): void {
    this.begin()
    for (const character of text) {
      while (this.cells.length < this.cursor) this.cells.push({ text: ' ', style: PLAIN })
      this.cells[this.cursor] = { text: character, style: this.style }
      this.cursor += 1
    }
  }

  private begin(): void {
    if (!this.open) {
      this.lines.push({ segments: [], text: '' })
      this.open = true
    }
  }

  private control(parameters: string, final: string): void {
    const first = Number.parseInt(parameters, 10)
    const count = Number.isNaN(first) || first === 0 ? 1 : Math.min(first, 10_000)
    if (final === 'm') {
      this.style = restyled(this.style, parameters)
    } else if (final === 'K') {
      this.erase(Number.isNaN(first) ? 0 : first)
    } else if (final === 'G') {
      this.cursor = count - 1
    } else if (final === 'C') {
      this.cursor = Math.min(this.cursor + count, 10_000)
    } else if (final === 'D') {
      this.cursor = Math.max(0, this.cursor - count)
    }
  }

  private erase(what: number): void {
    if (what === 0) {
      this.cells.length = Math.min(this.cells.length, this.cursor)
    } else if (what === 2) {
      this.cells = []
    } else if (what === 1) {
      for (let at = 0; at <= this.cursor && at < this.cells.length; at += 1)
        this.cells[at] = { text: ' ', style: PLAIN }
    }
  }

  private line(): Line {
    const segments: Segment[] = []
    let last: Segment | undefined
    for (const cell of this.cells) {
      if (last && last.style === cell.style) {
        last.text += cell.text
      } else {
        last = { text: cell.text, style: cell.style }
        segments.push(last)
      }
    }
    return { segments, text: segments.map((segment) => segment.text).join('') }
  }
}

function endOfText(text: string, from: number): number {
  let at = from
  while (at < text.length && (text[at] as string) >= ' ' && text[at] !== '\x7f') at += 1
  return at
}

function restyled(style: Style, parameters: string): Style {
  const codes = parameters.split(/[;:]/).map((code) => Number.parseInt(code || '0', 10))
  const next: Style = { ...style }
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] as number
    if (code === 38 || code === 48) {
      const [color, used] = extended(codes, at + 1)
      at += used
      if (color !== undefined) next[code === 38 ? 'foreground' : 'background'] = color
    } else {
      apply(next, code)
    }
  }
  return Object.keys(next).length === 0 ? PLAIN : next
}

function apply(style: Style, code: number): void {
  if (code === 0) for (const key of Object.keys(style) as (keyof Style)[]) Reflect.deleteProperty(style, key)
  else if (code === 1) style.bold = true
  else if (code === 2) style.dim = true
  else if (code === 3) style.italic = true
  else if (code === 4) style.underline = true
  else if (code === 7) style.inverse = true
  else if (code === 9) style.strike = true
  else if (code === 22) {
    delete style.bold
    delete style.dim
  } else if (code === 23) delete style.italic
  else if (code === 24) delete style.underline
  else if (code === 27) delete style.inverse
  else if (code === 29) delete style.strike
  else if (code >= 30 && code <= 37) style.foreground = code - 30
  else if (code === 39) delete style.foreground
  else if (code >= 40 && code <= 47) style.background = code - 40
  else if (code === 49) delete style.background
  else if (code >= 90 && code <= 97) style.foreground = code - 90 + 8
  else if (code >= 100 && code <= 107) style.background = code - 100 + 8
}

/** `38;5;N` and `38;2;R;G;B`: the color, and how many codes it took. */
function extended(codes: number[], at: number): [number | string | undefined, number] {
  if (codes[at] === 5) return [indexed(codes[at + 1]), 2]
  if (codes[at] === 2) return [hex(codes[at + 1], codes[at + 2], codes[at + 3]), 4]
  return [undefined, 0]
}

function indexed(index: number | undefined): number | string | undefined {
  if (index === undefined || !(index >= 0 && index <= 255)) return undefined
  if (index < 16) return index
  if (index >= 232) {
    const gray = 8 + (index - 232) * 10
    return hex(gray, gray, gray)
  }
  const level = (value: number) => (value === 0 ? 0 : 55 + value * 40)
  const cube = index - 16
  return hex(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6))
}

function hex(...parts: (number | undefined)[]): string | undefined {
  if (parts.some((part) => part === undefined || !(part >= 0 && part <= 255))) return undefined
  return `#${parts.map((part) => (part as number).toString(16).padStart(2, '0')).join('')}`
}
