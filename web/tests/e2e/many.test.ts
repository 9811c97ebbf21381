import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { Server } from './server'
import { openBrowser, Visitor } from './visitor'

const TASKS = 1000
const RUNS = 130
const LINES = 100_000
// Far more than a window shows, far less than there is.
const MOST_ROWS = 120

let browser: Browser
let server: Server
let visitor: Visitor

beforeAll(async () => {
  browser = await openBrowser()
  const tasks = Array.from({ length: TASKS }, (_, index) => {
    const name = `many/t${String(index).padStart(4, '0')}.py`
    return [name, `def run():\n    return ${index}\n`] as const
  })
  server = await Server.start({
    ...Object.fromEntries(tasks),
    'long.py': `def run():\n    print("\\n".join(f"n{line}" for line in range(${LINES})))\n`,
    'slow.py': 'import time\n\ndef run():\n    time.sleep(3600)\n',
  })
  visitor = await Visitor.loggedIn(browser, server)
})

afterAll(async () => {
  await visitor.leave()
  await browser.close()
  await server.stop()
})

describe('lists of any length', () => {
  it('have only those tasks in the document that are in sight', async () => {
    const { page } = visitor
    await visitor.go('/tasks')
    await page.getByText(`${TASKS + 2} tasks`).waitFor()
    const table = page.getByRole('table', { name: 'Tasks' })
    const rows = table.locator('tbody tr.row-line')
    const last = table.getByRole('link', { name: 'slow', exact: true })
    // To the end, page by page as they come.
    await expect
      .poll(
        async () => {
          await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight))
          expect(await rows.count()).toBeLessThan(MOST_ROWS)
          return last.count()
        },
        { timeout: 60_000 },
      )
      .toBe(1)
    expect(await rows.count()).toBeGreaterThan(0)
    await page.evaluate(() => window.scrollTo(0, 0))
    await table.getByRole('link', { name: 'many/t0000' }).waitFor()
    expect(await last.count()).toBe(0)
  })

  it('have only those runs in the document that are in sight', async () => {
    const { page } = visitor
    const ask = (task: string) =>
      page.evaluate(async (name) => {
        const answer = await fetch(`/api/v1/tasks/${name}/runs`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: '{}',
        })
        return answer.status
      }, task)
    // While one is active the others are skipped: rows like any.
    for (let asked = 0; asked < RUNS; asked += 1) expect(await ask('slow')).toBe(202)
    await visitor.go('/runs')
    const rows = page.getByRole('table', { name: 'Runs' }).locator('tbody tr.row-line')
    await page.getByText('a run of the task was still active').first().waitFor()
    expect(await rows.count()).toBeLessThan(MOST_ROWS)
    const first = page.getByRole('table', { name: 'Runs' }).getByRole('cell', { name: '1', exact: true })
    await expect
      .poll(
        async () => {
          await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight))
          expect(await rows.count()).toBeLessThan(MOST_ROWS)
          return first.count()
        },
        { timeout: 60_000 },
      )
      .toBe(1)
  })

  it('have only those lines of output in the document that are in sight', async () => {
    const { page } = visitor
    await visitor.go('/tasks/long')
    await page.getByRole('button', { name: 'Run now' }).click()
    const output = page.getByRole('log', { name: 'Output' })
    await output.getByText(`n${LINES - 1}`, { exact: true }).waitFor()
    const lines = output.locator('[data-index]')
    expect(await lines.count()).toBeLessThan(MOST_ROWS)
    await output.evaluate((element) => {
      const scroller = [element, ...element.querySelectorAll('*')].find(
        (one) => one.scrollHeight > one.clientHeight && getComputedStyle(one).overflowY !== 'visible',
      )
      if (scroller) scroller.scrollTop = 0
    })
    await output.getByText('n0', { exact: true }).waitFor()
    expect(await lines.count()).toBeLessThan(MOST_ROWS)
    expect(await output.getByText(`n${LINES - 1}`, { exact: true }).count()).toBe(0)
  })
})
