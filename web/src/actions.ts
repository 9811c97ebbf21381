import { useQueryClient } from '@tanstack/vue-query'
import { useMessage } from 'naive-ui'
import { useI18n } from 'vue-i18n'
import { useRouter } from 'vue-router'

import * as calls from '@/api/calls'
import type { Started } from '@/api/model'
import { problemText } from '@/api/problem'

/** As long as the second click of a double click may come. */
const DOUBLE_CLICK_MS = 500

const underWay = new Set<string>()

/** Does something that is not under way, nor was begun by the first click of two: each request to start a run starts one. */
export async function once<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
  if (underWay.has(what)) return undefined
  underWay.add(what)
  const clicked = new Promise((resolve) => setTimeout(resolve, DOUBLE_CLICK_MS))
  try {
    return await work()
  } finally {
    void clicked.then(() => underWay.delete(what))
  }
}

/** What a person does to tasks and runs: asks the server, says how it went, and has the pages look again. */
export function useActions() {
  const { t } = useI18n()
  const message = useMessage()
  const router = useRouter()
  const queries = useQueryClient()

  /** Does something; tells what went wrong, and returns `undefined` then. */
  async function attempt<T>(work: () => Promise<T>, done?: (result: T) => string): Promise<T | undefined> {
    try {
      const result = await work()
      if (done) message.success(done(result))
      void queries.invalidateQueries()
      return result
    } catch (error) {
      message.error(problemText(error, t('problem.unreachable')), { duration: 8000, closable: true })
      return undefined
    }
  }

  const begin = (what: string, work: () => Promise<Started>) =>
    once(what, () => attempt(work, (started) => t('start.done', { id: started.run.run_id })))

  async function toRun(starting: Promise<Started | undefined>): Promise<void> {
    const started = await starting
    if (!started) return
    const id = started.run.run_id
    // Where the button was that started it, the page of the run has one that cancels or repeats it.
    await once(`run ${id}`, () => router.push({ name: 'run', params: { id } }))
  }

  return {
    attempt,
    start: (task: string, request: calls.StartRequest = {}) =>
      toRun(begin(`start ${task} ${JSON.stringify(request)}`, () => calls.start(task, request))),
    startQuietly: (task: string) => begin(`start ${task} {}`, () => calls.start(task)),
    retry: (id: number) => toRun(begin(`run ${id}`, () => calls.retry(id))),
    runVersion: (task: string, sha256: string) =>
      toRun(begin(`start ${task} ${sha256}`, () => calls.runVersion(task, sha256))),
    cancel: (id: number) =>
      once(`run ${id}`, () =>
        attempt(
          () => calls.cancel(id),
          () => t('run.cancelling', { id }),
        ),
      ),
    pause: (task: string, reason: string) =>
      attempt(
        () => calls.pause(task, reason),
        () => t('pause.done', { task }),
      ),
    resume: (task: string) =>
      once(`resume ${task}`, () =>
        attempt(
          () => calls.resume(task),
          () => t('pause.resumed', { task }),
        ),
      ),
  }
}
