import { problemFrom } from './problem'
import { parseExact } from '@/value/json'

/** Where the API is: beside the page, below whatever path a proxy serves it. */
export const API = new URL('api/v1', new URL('.', document.baseURI)).href

type Query = Record<string, string | number | boolean | null | undefined>

interface Options {
  query?: Query
  body?: unknown
  headers?: Record<string, string>
  /** Keep every digit of the numbers in the answer. */
  exact?: boolean
}

/** Asks the API, and takes its answer apart; an answer that is no success is thrown as a `Problem`. */
export async function ask<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await fetch(address(path, options.query), {
    method,
    credentials: 'same-origin',
    headers: {
      Accept: 'application/json',
      ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  })
  const text = await response.text()
  const isJson = (response.headers.get('Content-Type') ?? '').includes('json')
  const body: unknown = isJson && text !== '' ? (options.exact ? parseExact(text) : JSON.parse(text)) : text
  if (!response.ok) {
    if (response.status === 401) loggedOut?.()
    throw problemFrom(response.status, body)
  }
  return body as T
}

/** The address of something in the API; parts of a path are one segment each, whatever is in them. */
export function address(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') parameters.set(key, String(value))
  }
  const text = parameters.toString()
  return `${API}${path}${text ? `?${text}` : ''}`
}

/** One segment of a path: names of tasks have slashes in them. */
export function segment(name: string | number): string {
  return encodeURIComponent(name)
}

let loggedOut: (() => void) | undefined

/** Says what to do when the session has ended. */
export function onLoggedOut(callback: () => void): void {
  loggedOut = callback
}
