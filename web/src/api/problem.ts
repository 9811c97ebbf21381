/** One place in a text that is wrong. */
export interface Place {
  line?: number | null
  column?: number | null
  message: string
}

/** An answer of the API that is not a success: RFC 9457. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly places: Place[] = [],
    readonly type = 'about:blank',
  ) {
    super(detail || title)
  }
}

/** A problem from an answer that may be anything, as from a proxy in between. */
export function problemFrom(status: number, body: unknown): Problem {
  const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  const text = (key: string) => (typeof fields[key] === 'string' ? fields[key] : '')
  const places = Array.isArray(fields.errors) ? (fields.errors as Place[]) : []
  return new Problem(
    status,
    text('title') || `HTTP ${status}`,
    text('detail'),
    places,
    text('type') || undefined,
  )
}

/** What to tell people. Anything but a problem means that no answer came. */
export function problemText(error: unknown, unreachable: string): string {
  if (!(error instanceof Problem)) return unreachable
  const places = error.places.map((place) => {
    const where = place.line ? `${place.line}${place.column ? `:${place.column}` : ''}: ` : ''
    return `${where}${place.message}`
  })
  return [error.detail || error.title, ...places].join('\n')
}
