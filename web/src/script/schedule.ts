import type { Task } from '@/api/model'

/** When a task runs, in words; `manual` for one that has no schedule. Of a file that cannot be read nobody knows. */
export function scheduleWords(
  task: Pick<Task, 'schedule' | 'schedule_words' | 'state'>,
  manual: string,
): string {
  if (task.schedule.length > 0) return task.schedule_words
  return task.state === 'problem' ? '–' : manual
}
