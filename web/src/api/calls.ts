import { parseExact } from '@/value/json'

import { address, answer, client, segment } from './client'
import type { Answer, Role, Verdict } from './model'
import type { components, operations } from './schema'

/* What the page asks of the API, one function for each request. */

// --- Session ---

export const login = (token: string) => answer(client.POST('/api/v1/session', { body: { token } }))
export const session = () => answer(client.GET('/api/v1/session'))
export const logout = () => answer(client.DELETE('/api/v1/session'))

// --- Overview ---

/** Lines of the timeline at a time: somewhat more than are in sight. */
const LINES = 40

export const overview = (timezone: string) =>
  answer(client.GET('/api/v1/overview', { params: { query: { timezone } } }))
export const timeline = (from: string, to: string, cursor: string | null) =>
  answer(client.GET('/api/v1/timeline', { params: { query: { from, to, ...page(cursor), limit: LINES } } }))
export const nodes = () => answer(client.GET('/api/v1/nodes'))

// --- Tasks ---

/** Which tasks are wanted. */
export interface TaskFilter {
  search?: string
  tag?: string
  status?: string
}

const PAGE = 100
/** Tasks at a time: each brings its newest runs along, and a screen has room for twenty. */
const TASKS = 50

export const tasks = (filter: TaskFilter, cursor: string | null) =>
  answer(client.GET('/api/v1/tasks', { params: { query: { ...filter, ...page(cursor), limit: TASKS } } }))
export const tags = () => answer(client.GET('/api/v1/tags'))
export const task = (name: string) =>
  answer(client.GET('/api/v1/tasks/{name}', { params: { path: { name } } }))
export const pause = (name: string, reason: string) =>
  answer(
    client.POST('/api/v1/tasks/{name}/pause', {
      params: { path: { name } },
      body: { reason: reason || null },
    }),
  )
export const resume = (name: string) =>
  answer(client.POST('/api/v1/tasks/{name}/resume', { params: { path: { name } } }))
export const override = (name: string, schedule: string[], timezone: string | null) =>
  answer(
    client.PUT('/api/v1/tasks/{name}/schedule-override', {
      params: { path: { name } },
      body: { schedule, timezone },
    }),
  )
export const removeOverride = (name: string) =>
  answer(client.DELETE('/api/v1/tasks/{name}/schedule-override', { params: { path: { name } } }))
export const instants = (name: string, from: string, to: string, cursor: string | null) =>
  answer(
    client.GET('/api/v1/tasks/{name}/instants', {
      params: { path: { name }, query: { from, to, ...page(cursor) } },
    }),
  )
export const why = (name: string, at: string) =>
  answer(client.GET('/api/v1/tasks/{name}/why', { params: { path: { name }, query: { at } } }))
export const events = (name: string, cursor: string | null) =>
  answer(client.GET('/api/v1/tasks/{name}/events', { params: { path: { name }, query: page(cursor) } }))

export const environments = (task: string) =>
  answer(client.GET('/api/v1/environments', { params: { query: { task } } }))

// --- Versions ---

export const versions = (name: string) =>
  answer(client.GET('/api/v1/tasks/{name}/versions', { params: { path: { name } } }))
export const version = (name: string, sha256: string) =>
  answer(
    client.GET('/api/v1/tasks/{name}/versions/{sha256}', {
      params: { path: { name, sha256 } },
      parseAs: 'text',
    }),
  )
export const runVersion = (name: string, sha256: string) =>
  answer(
    client.POST('/api/v1/tasks/{name}/versions/{sha256}/run', {
      params: { path: { name, sha256 }, header: idempotency() },
      body: {},
    }),
  )

// --- Runs ---

/** Which runs are wanted. */
export type RunFilter = Omit<NonNullable<operations['list_runs']['parameters']['query']>, 'cursor' | 'limit'>

/** What a run is to be started with. */
export interface StartRequest extends Omit<Partial<components['schemas']['StartRun']>, 'args'> {
  args?: Record<string, unknown>
}

export const runs = (filter: RunFilter, cursor: string | null) =>
  answer(client.GET('/api/v1/runs', { params: { query: { ...filter, ...page(cursor) } } }))

/** One run; the numbers that it returned have every digit. */
export async function run(run_id: number): Promise<Answer<components['schemas']['RunDetail']>> {
  const text = await answer(
    client.GET('/api/v1/runs/{run_id}', { params: { path: { run_id } }, parseAs: 'text' }),
  )
  return parseExact(text) as Answer<components['schemas']['RunDetail']>
}

export const start = (name: string, request: StartRequest = {}) =>
  answer(
    client.POST('/api/v1/tasks/{name}/runs', {
      params: { path: { name }, header: idempotency() },
      // The document has no type for "any object".
      body: request as components['schemas']['StartRun'],
    }),
  )
export const cancel = (run_id: number) =>
  answer(client.POST('/api/v1/runs/{run_id}/cancel', { params: { path: { run_id } } }))
export const retry = (run_id: number) =>
  answer(client.POST('/api/v1/runs/{run_id}/retry', { params: { path: { run_id }, header: idempotency() } }))

// --- Output ---

export const output = (run_id: number, from_chunk: number) =>
  answer(client.GET('/api/v1/runs/{run_id}/output', { params: { path: { run_id }, query: { from_chunk } } }))
export const outputEvents = (runId: number) => address(`/api/v1/runs/${runId}/output/events`)

// --- Scripts ---

export const scripts = () => answer(client.GET('/api/v1/scripts'))
export const script = (path: string) =>
  answer(client.GET('/api/v1/scripts/{path}', { params: { path: { path } } }))
export const validate = (content: string, path: string | null) =>
  answer(client.POST('/api/v1/scripts/validate', { body: { content, path } }))

/** Writes a script: a new one if no hash is given, else the one that still has this hash. */
export const writeScript = (path: string, content: string, sha256: string | null) =>
  answer(
    client.PUT('/api/v1/scripts/{path}', {
      params: {
        path: { path },
        header: sha256 === null ? { 'If-None-Match': '*' } : { 'If-Match': `"${sha256}"` },
      },
      body: { content },
    }),
  )
export const renameScript = (path: string, to: string) =>
  answer(client.POST('/api/v1/scripts/{path}/rename', { params: { path: { path } }, body: { to } }))
export const deleteScript = (path: string, sha256: string) =>
  answer(
    client.DELETE('/api/v1/scripts/{path}', {
      params: { path: { path }, header: { 'If-Match': `"${sha256}"` } },
    }),
  )
export const tryScript = (content: string) =>
  answer(client.POST('/api/v1/scripts/try', { params: { header: idempotency() }, body: { content } }))

// --- Series ---

export const series = () => answer(client.GET('/api/v1/series'))
export const chart = (name: string, series: string, query: { from?: string; to?: string; points?: number }) =>
  answer(
    client.GET('/api/v1/tasks/{name}/series/{series}/points', { params: { path: { name, series }, query } }),
  )
export const pointsCsv = (name: string, series: string, from?: string) =>
  address(`/api/v1/tasks/${segment(name)}/series/${segment(series)}/points.csv`, { from })
export const judge = (name: string, series: string, at: string, verdict: Verdict, note: string) =>
  answer(
    client.POST('/api/v1/tasks/{name}/series/{series}/verdict', {
      params: { path: { name, series } },
      body: { at, verdict, note: note || null },
    }),
  )

// --- Schedule, tokens, audit ---

export const preview = (schedule: string[], timezone: string | null, count: number, task: string | null) =>
  answer(client.POST('/api/v1/schedule/preview', { body: { schedule, timezone, count, task } }))
export const tokens = () => answer(client.GET('/api/v1/tokens'))
export const createToken = (name: string, role: Role) =>
  answer(client.POST('/api/v1/tokens', { body: { name, role } }))
export const revokeToken = (token_id: number) =>
  answer(client.DELETE('/api/v1/tokens/{token_id}', { params: { path: { token_id } } }))
export const audit = (cursor: string | null) =>
  answer(client.GET('/api/v1/audit', { params: { query: page(cursor) } }))

function page(cursor: string | null): { cursor?: string; limit: number } {
  return cursor === null ? { limit: PAGE } : { cursor, limit: PAGE }
}

/** One request that arrives twice, as over a connection that broke, starts one run. A second click is another: see `actions.ts`. */
function idempotency(): { 'Idempotency-Key': string } {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return { 'Idempotency-Key': [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('') }
}
