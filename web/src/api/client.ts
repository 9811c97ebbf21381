import createClient, { type Middleware } from 'openapi-fetch'

import type { Answer } from './model'
import { problemFrom } from './problem'
import type { paths } from './schema'

/** Where the API is: beside the page, below whatever path a proxy serves it. */
const BASE = new URL('.', document.baseURI).href.replace(/\/$/, '')

let refused: ((status: 401 | 403) => void) | undefined

/** Says what to do when the session has ended (401), or may not do what was asked (403). */
export function onRefused(callback: (status: 401 | 403) => void): void {
  refused = callback
}

/** An answer that is no success is thrown as a `Problem`, whoever it comes from. */
const refuse: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return
    if (response.status === 401 || response.status === 403) refused?.(response.status)
    const text = await response.text()
    const isJson = (response.headers.get('Content-Type') ?? '').includes('json')
    throw problemFrom(response.status, isJson ? JSON.parse(text) : text)
  },
}

/** The API, with the paths and types of its document. */
export const client = createClient<paths>({
  baseUrl: BASE,
  credentials: 'same-origin',
  // Looked up with each request, as a test may give another.
  fetch: (request) => globalThis.fetch(request),
})
client.use(refuse)

/** What was asked for: refusals have been thrown before. */
export async function answer<T>(request: Promise<{ data?: T; error?: unknown }>): Promise<Answer<T>> {
  const { data } = await request
  return data as Answer<T>
}

/** The address of something that the browser itself asks for: events, and files to save. */
export function address(path: string, query: Record<string, string | undefined> = {}): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value) parameters.set(key, value)
  const text = parameters.toString()
  return `${BASE}${path}${text ? `?${text}` : ''}`
}

/** One segment of a path: names of tasks have slashes in them. */
export function segment(name: string | number): string {
  return encodeURIComponent(name)
}
