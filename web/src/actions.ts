import { useQueryClient } from '@tanstack/vue-query'
import { useMessage } from 'naive-ui'
import { useI18n } from 'vue-i18n'
import { useRouter } from 'vue-router'

import * as calls from '@/api/calls'
import type { Started } from '@/api/model'
import { problemText } from '@/api/problem'

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

  async function toRun(started: Started | undefined): Promise<void> {
    if (started) await router.push({ name: 'run', params: { id: started.run.run_id } })
  }

  return {
    attempt,
    start: async (task: string, request: calls.StartRequest = {}) =>
      toRun(
        await attempt(
          () => calls.start(task, request),
          (started) => t('start.done', { id: started.run.run_id }),
        ),
      ),
    startQuietly: (task: string) =>
      attempt(
        () => calls.start(task),
        (started) => t('start.done', { id: started.run.run_id }),
      ),
    retry: async (id: number) =>
      toRun(
        await attempt(
          () => calls.retry(id),
          (started) => t('start.done', { id: started.run.run_id }),
        ),
      ),
    runVersion: async (task: string, sha256: string) =>
      toRun(
        await attempt(
          () => calls.runVersion(task, sha256),
          (started) => t('start.done', { id: started.run.run_id }),
        ),
      ),
    cancel: (id: number) =>
      attempt(
        () => calls.cancel(id),
        () => t('run.cancelling', { id }),
      ),
    pause: (task: string, reason: string) =>
      attempt(
        () => calls.pause(task, reason),
        () => t('pause.done', { task }),
      ),
    resume: (task: string) =>
      attempt(
        () => calls.resume(task),
        () => t('pause.resumed', { task }),
      ),
  }
}
