import type { components } from './schema'
import type { Status, Trigger } from './types'

/* What the API answers with, by the document that it is made from; closed sets of words, which stand there as text, are types. */

/** A type of the document in which statuses and triggers are known words. */
type Known<T> = T extends (infer Item)[]
  ? Known<Item>[]
  : T extends object
    ? { [Key in keyof T]: Key extends 'status' ? Status : Key extends 'trigger' ? Trigger : Known<T[Key]> }
    : T

type Schema<Name extends keyof components['schemas']> = Known<components['schemas'][Name]>

export type AuditEntry = Schema<'AuditEntry'>
export type BecameOf = Schema<'BecameOf'>
export type Chart = Schema<'Chart'>
export type ChartPoint = Schema<'ChartPoint'>
export type Chunk = Schema<'Chunk'>
export type Environment = Schema<'Environment'>
export type Frame = Schema<'Frame'>
export type HeaderKey = Schema<'HeaderKey'>
export type Node = Schema<'Node'>
export type Role = Schema<'Role'>
export type Run = Schema<'Run'>
export type Script = Schema<'Script'>
export type Series = Schema<'Series'>
export type Session = Schema<'Session'>
export type Started = Schema<'Started'>
export type Task = Schema<'Task'>
export type TaskEvent = Schema<'Event'>
export type Token = Schema<'Token'>
export type Verdict = Schema<'VerdictWord'>
export type Why = Schema<'Why'>

/** An answer of the API in which closed sets of words are types. */
export type Answer<T> = Known<T>
