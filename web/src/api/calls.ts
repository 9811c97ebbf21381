import { address, ask, segment } from './client'
import type {
  AuditEntry,
  Chunk,
  Instants,
  Node,
  Overview,
  Page,
  Points,
  Preview,
  Run,
  RunDetail,
  ScriptFile,
  SeriesSummary,
  Session,
  Started,
  Task,
  TaskDetail,
  TaskEvent,
  Timeline,
  Token,
  Validation,
  Version,
  Why,
} from './model'

// --- Session ---

export const login = (token: string) => ask<Session>('POST', '/session', { body: { token } })
export const session = () => ask<Session>('GET', '/session')
export const logout = () => ask<unknown>('DELETE', '/session')

// --- Overview ---

export const overview = (timezone: string) => ask<Overview>('GET', '/overview', { query: { timezone } })
export const timeline = (from: string, to: string) =>
  ask<Timeline>('GET', '/timeline', { query: { from, to } })

// --- Tasks ---

export interface TaskFilter {
  search?: string
  tag?: string
  status?: string
}

export const tasks = (filter: TaskFilter, cursor?: string | null, limit = 100) =>
  ask<Page<Task>>('GET', '/tasks', { query: { ...filter, cursor, limit } })
export const task = (name: string) => ask<TaskDetail>('GET', `/tasks/${segment(name)}`)
export const pause = (name: string, reason: string) =>
  ask<unknown>('POST', `/tasks/${segment(name)}/pause`, { body: { reason: reason || null } })
export const resume = (name: string) => ask<unknown>('POST', `/tasks/${segment(name)}/resume`)
export const override = (name: string, schedule: string[], timezone: string | null) =>
  ask<unknown>('PUT', `/tasks/${segment(name)}/schedule-override`, { body: { schedule, timezone } })
export const removeOverride = (name: string) =>
  ask<unknown>('DELETE', `/tasks/${segment(name)}/schedule-override`)

export const instants = (name: string, from: string, to: string, limit = 500) =>
  ask<Instants>('GET', `/tasks/${segment(name)}/instants`, { query: { from, to, limit } })
export const why = (name: string, at: string) =>
  ask<Why>('GET', `/tasks/${segment(name)}/why`, { query: { at } })
export const events = (name: string, cursor?: string | null) =>
  ask<Page<TaskEvent>>('GET', `/tasks/${segment(name)}/events`, { query: { cursor } })
export const versions = (name: string) => ask<Page<Version>>('GET', `/tasks/${segment(name)}/versions`)
export const version = (name: string, sha256: string) =>
  ask<string>('GET', `/tasks/${segment(name)}/versions/${segment(sha256)}`)
export const runVersion = (name: string, sha256: string) =>
  ask<Started>('POST', `/tasks/${segment(name)}/versions/${segment(sha256)}/run`, {
    body: {},
    headers: idempotency(),
  })

// --- Runs ---

export interface RunFilter {
  task?: string
  status?: string
  trigger?: string
  from?: string
  to?: string
}

export interface StartRequest {
  args?: Record<string, unknown>
  as_of?: string
  force?: boolean
}

export const runs = (filter: RunFilter, cursor?: string | null, limit = 100) =>
  ask<Page<Run>>('GET', '/runs', { query: { ...filter, cursor, limit } })
export const run = (id: number) => ask<RunDetail>('GET', `/runs/${id}`, { exact: true })
export const start = (name: string, request: StartRequest = {}) =>
  ask<Started>('POST', `/tasks/${segment(name)}/runs`, { body: request, headers: idempotency() })
export const cancel = (id: number) => ask<unknown>('POST', `/runs/${id}/cancel`)
export const retry = (id: number) => ask<Started>('POST', `/runs/${id}/retry`, { headers: idempotency() })

// --- Output ---

export const output = (id: number, fromChunk: number, limit = 200) =>
  ask<{ chunks: Chunk[]; next: number | null; complete: boolean }>('GET', `/runs/${id}/output`, {
    query: { from_chunk: fromChunk, limit },
  })
export const outputEvents = (id: number) => address(`/runs/${id}/output/events`)

// --- Scripts ---

export const scripts = () =>
  ask<Page<ScriptFile> & { writable: boolean; note?: string | null }>('GET', '/scripts')
export const script = (path: string) =>
  ask<{ path: string; content: string; sha256: string }>('GET', `/scripts/${segment(path)}`)
export const validate = (content: string, path?: string) =>
  ask<Validation>('POST', '/scripts/validate', { body: { content, path } })
/** Writes a script: a new one if no hash is given, else the one that still has this hash. */
export const writeScript = (path: string, content: string, sha256: string | null) =>
  ask<{ sha256: string }>('PUT', `/scripts/${segment(path)}`, {
    body: { content },
    headers: sha256 === null ? { 'If-None-Match': '*' } : { 'If-Match': `"${sha256}"` },
  })
export const renameScript = (path: string, to: string) =>
  ask<unknown>('POST', `/scripts/${segment(path)}/rename`, { body: { to } })
export const deleteScript = (path: string, sha256: string) =>
  ask<unknown>('DELETE', `/scripts/${segment(path)}`, { headers: { 'If-Match': `"${sha256}"` } })
export const tryScript = (content: string, args?: Record<string, unknown>) =>
  ask<Started>('POST', '/scripts/try', { body: { content, args }, headers: idempotency() })

// --- Series ---

export const series = () => ask<Page<SeriesSummary>>('GET', '/series')
export const points = (
  name: string,
  seriesName: string,
  query: { from?: string; to?: string; points?: number },
) => ask<Points>('GET', `/tasks/${segment(name)}/series/${segment(seriesName)}/points`, { query })
export const pointsCsv = (name: string, seriesName: string, query: { from?: string; to?: string }) =>
  address(`/tasks/${segment(name)}/series/${segment(seriesName)}/points.csv`, query)
export const judge = (name: string, seriesName: string, at: string, verdict: string, note: string) =>
  ask<unknown>('POST', `/tasks/${segment(name)}/series/${segment(seriesName)}/verdict`, {
    body: { at, verdict, note: note || null },
  })

// --- Schedule, nodes, tokens, audit ---

export const preview = (schedule: string[], timezone: string | null, count = 10) =>
  ask<Preview>('POST', '/schedule/preview', { body: { schedule, timezone, count } })
export const nodes = () => ask<Page<Node>>('GET', '/nodes')
export const tokens = () => ask<Page<Token>>('GET', '/tokens')
export const createToken = (name: string, role: string) =>
  ask<{ token: string }>('POST', '/tokens', { body: { name, role } })
export const revokeToken = (id: number) => ask<unknown>('DELETE', `/tokens/${id}`)
export const audit = (cursor?: string | null) => ask<Page<AuditEntry>>('GET', '/audit', { query: { cursor } })

/** A request that is sent twice, by a nervous finger or a lost answer, starts one run. */
function idempotency(): Record<string, string> {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return { 'Idempotency-Key': [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('') }
}
