/** A number whose digits a JavaScript number would lose. */
export class ExactNumber {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text
  }

  toJSON(): unknown {
    const raw = (JSON as { rawJSON?: (text: string) => unknown }).rawJSON
    return raw ? raw(this.text) : Number(this.text)
  }
}

/** A JSON value as the page shows it. */
export type Json = null | boolean | number | string | ExactNumber | Json[] | { [key: string]: Json }

// No key of a stored value has a NUL in it: Postgres refuses that.
const MARK = '\0exact'
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

/** Parses JSON and keeps every digit of its numbers. */
export function parseExact(text: string): unknown {
  const marked = text.replace(STRING_OR_NUMBER, (token) =>
    token.startsWith('"') || isExact(Number(token), token) ? token : JSON.stringify({ [MARK]: token }),
  )
  return JSON.parse(marked, (_key, value: unknown) => {
    const digits = isRecord(value) ? value[MARK] : undefined
    return typeof digits === 'string' ? new ExactNumber(digits) : value
  })
}

/** Whether a value can be shown as a table: a list of objects of plain values that share their keys. */
export function tableColumns(value: Json): string[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined
  const columns: string[] = []
  for (const row of value) {
    if (!isRecord(row)) return undefined
    for (const [key, cell] of Object.entries(row)) {
      if (Array.isArray(cell) || isRecord(cell)) return undefined
      if (!columns.includes(key)) columns.push(key)
    }
    if (columns.length > 30) return undefined
  }
  return columns.length > 0 ? columns : undefined
}

/** Whether a value is an object with keys. */
export function isRecord(value: unknown): value is { [key: string]: Json } {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber)
  )
}

// `1.10` and `1e3` are what they are as numbers; `0.1000000000000000055` and `12345678901234567890` are not.
function isExact(value: number, source: string): boolean {
  return significant(String(value)) === significant(source)
}

function significant(text: string): string {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e')
  const sign = mantissa.startsWith('-') ? '-' : ''
  const [whole = '', fraction = ''] = mantissa.replace(/^[-+]/, '').split('.')
  const digits = (whole + fraction).replace(/^0+/, '')
  const trimmed = digits.replace(/0+$/, '')
  const point = Number(exponent) - fraction.length + (digits.length - trimmed.length)
  return trimmed === '' ? '0' : `${sign}${trimmed}e${point}`
}
