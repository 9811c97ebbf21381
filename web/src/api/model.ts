import type { Place } from './problem'
import type { Status, Trigger } from './types'

export type Role = 'reader' | 'operator' | 'admin'

export interface Session {
  name: string
  role: Role
}

export interface Page<T> {
  items: T[]
  next_cursor?: string | null
}

export interface RunFailure {
  type?: string | null
  message: string
  traceback?: string | null
}

export interface Run {
  run_id: number
  task: string
  scheduled_for: string
  attempt: number
  trigger: Trigger
  status: Status
  reason?: string | null
  detail?: string | null
  as_of?: string | null
  queued_at: string
  due_at: string
  started_at?: string | null
  finished_at?: string | null
  duration_ms?: number | null
  start_delay_ms?: number | null
  exit_code?: number | null
  signal?: number | null
  missed_count?: number | null
  missed_until?: string | null
  blocking_run_id?: number | null
  return_value?: unknown
  error?: RunFailure | null
  warnings: string[]
  max_rss_kb?: number | null
  cpu_ms?: number | null
  script_sha256?: string | null
  late_report: boolean
  requested_by?: string | null
  limits?: unknown
}

export interface Frame {
  file: string
  line: number
  function: string
  /** Whether it is a line of the script itself. */
  is_script: boolean
}

export interface RunDetail {
  run: Run
  task_now?: string | null
  args?: unknown
  node?: string | null
  cancel_requested_by?: string | null
  frames: Frame[]
  attempts: { run_id: number; attempt: number; status: Status }[]
}

export interface Started {
  run: Run
  repeated: boolean
}

export interface RecentRun {
  run_id: number
  status: Status
  scheduled_for: string
  duration_ms?: number | null
}

export interface Task {
  name: string
  state: string
  source: string
  script_path: string
  script_kind: string
  is_async: boolean
  script_sha256?: string | null
  schedule: string[]
  schedule_words: string
  timezone: string
  schedule_override?: string[] | null
  timezone_override?: string | null
  enabled: boolean
  paused: boolean
  paused_at?: string | null
  paused_by?: string | null
  paused_reason?: string | null
  problem?: string | null
  description?: string | null
  owner?: string | null
  tags: string[]
  args: unknown
  next_fire_at?: string | null
  last_run?: LastRun | null
  consecutive_failures: number
  active_run_id?: number | null
  recent: RecentRun[]
}

export interface LastRun {
  run_id: number
  status: Status
  scheduled_for: string
  finished_at?: string | null
  duration_ms?: number | null
}

export interface HeaderKey {
  key: string
  value?: unknown
  source: string
  words: string
  default: string
}

export interface TaskDetail {
  task: Task
  header: HeaderKey[]
  series: string[]
}

export interface Overview {
  now: string
  version: string
  timezone: string
  running: Run[]
  upcoming: { task: string; scheduled_for: string }[]
  failed_today: Run[]
  missed_today: Run[]
  counts: {
    tasks: number
    paused: number
    disabled: number
    problems: number
    failing: number
    running: number
    queued: number
    failed_today: number
    missed_today: number
  }
  nodes: Node[]
  scripts_writable: boolean
  scripts_note?: string | null
}

export interface Timeline {
  from: string
  to: string
  tasks: {
    name: string
    runs: {
      run_id: number
      scheduled_for: string
      started_at?: string | null
      finished_at?: string | null
      status: Status
    }[]
    fires: string[]
  }[]
  truncated: boolean
}

/** What became of an instant, or of a span of them. */
export interface BecameOf {
  at: string
  until?: string | null
  count: number
  trigger: Trigger
  status: Status
  reason?: string | null
  detail?: string | null
  run_id: number
  attempt: number
}

export interface Instants {
  items: BecameOf[]
  to_come: string[]
  next_cursor?: string | null
}

export interface Why {
  task: string
  clock_change?: string | null
  instants: { at: string; local: string; verdict: string; facts: { label: string; text: string }[] }[]
}

export interface Chunk {
  number: number
  text: string
  at: string
}

export interface Node {
  node_id: string
  kind: string
  host: string
  pid: number
  version: string
  state: string
  started_at: string
  heartbeat_at: string
  python?: string | null
  max_running: number
  running: number
}

export interface SeriesSummary {
  task: string
  series: string
  unit?: string | null
  last?: { at: string; value: number | null } | null
  previous?: number | null
  count: number
  recent?: { at: string; value: number | null }[]
}

export interface Point {
  at: string
  value: number | null
  run_id?: number | null
  suspect?: string | null
  breach?: boolean
  verdict?: 'accepted' | 'rejected' | null
  note?: string | null
}

export interface Points {
  task: string
  series: string
  unit?: string | null
  min?: number | null
  max?: number | null
  points: Point[]
  failures: { at: string; run_id: number; status: Status }[]
  versions: { at: string; sha256: string }[]
  downsampled_from?: number | null
}

export interface Preview {
  words: string
  next: { utc: string; local: string }[]
  notes: string[]
  collisions: { at: string; tasks: string[] }[]
}

export interface Validation {
  assessment: string
  problems: Place[]
  header: HeaderKey[]
  schedule: string[]
  timezone?: string | null
  next: { utc: string; local: string }[]
  schedule_words?: string
}

export interface ScriptFile {
  path: string
  size: number
  kind: 'task' | 'library' | 'problem'
  task?: string | null
  problem?: string | null
}

export interface Version {
  sha256: string
  in_force_at: string
  actor: string
  in_force: boolean
}

export interface TaskEvent {
  at: string
  actor: string
  kind: string
  before?: unknown
  after?: unknown
}

export interface Token {
  token_id: number
  name: string
  role: Role
  origin: string
  created_at: string
  created_by: string
  last_used_at?: string | null
}

export interface AuditEntry {
  audit_id: number
  at: string
  actor: string
  action: string
  subject: string
  before?: unknown
  after?: unknown
}
