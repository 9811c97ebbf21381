import { createServer, request as ask, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { BREAKABLE, COUNTER, QUIET, talker } from './scripts'
import { Server } from './server'
import { openBrowser, Visitor } from './visitor'

const FIRST_LOAD = 400_000
// Screens of phones begin here.
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }

let browser: Browser
let server: Server
let visitors: Visitor[] = []

beforeAll(async () => {
  browser = await openBrowser()
  server = await Server.start({ 'numbers/counter.py': COUNTER, 'quiet.py': QUIET, 'helper.py': 'X = 1\n' })
  server.write('talker.py', talker(server.signalPath('')))
})

afterAll(async () => {
  await browser.close()
  await server.stop()
})

afterEach(async () => {
  const complaints = visitors.flatMap((visitor) => visitor.complaints)
  await Promise.all(visitors.map((visitor) => visitor.leave()))
  visitors = []
  expect(complaints).toEqual([])
})

async function admin(options = {}): Promise<Visitor> {
  const visitor = await Visitor.loggedIn(browser, server, options)
  visitors.push(visitor)
  return visitor
}

async function stranger(origin = server.origin, options = {}): Promise<Visitor> {
  const visitor = await Visitor.arrive(browser, origin, options)
  visitors.push(visitor)
  return visitor
}

/** Replaces what the editor has with another text. */
async function type(page: Page, text: string): Promise<void> {
  const editor = page.getByRole('textbox', { name: 'Editor of the script' })
  await editor.focus()
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.insertText(text)
}

describe('somebody who logs in', () => {
  it('comes by the link of the first start, which leaves no token behind', async () => {
    const { page, context } = await admin()
    await page.getByRole('heading', { name: 'Running now' }).waitFor()
    expect(page.url()).toBe(`${server.origin}/#/`)
    expect(await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }]))).not.toContain(
      server.token,
    )
    const [cookie] = await context.cookies()
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' })
    await page.goBack().catch(() => null)
    expect(page.url()).not.toContain(server.token)
  })

  it('is told if a token is wrong, and comes to where they wanted with a right one', async () => {
    const visitor = await stranger()
    const { page } = visitor
    await visitor.go('/tasks/quiet/header')
    await page.getByLabel('Token').fill('dropcron_wrong')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('alert').waitFor()
    await visitor.shoot('login')
    await page.getByLabel('Token').fill(server.token)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('heading', { name: 'quiet' }).waitFor()
    await page.getByRole('cell', { name: 'timezone', exact: true }).waitFor()
    await visitor.shoot('task-header')
  })

  it('logs out, and sees nothing any more', async () => {
    const visitor = await admin()
    const { page } = visitor
    await page.getByRole('button', { name: 'Settings' }).click()
    await page.getByText('Log out').click()
    await page.getByLabel('Token').waitFor()
    await visitor.go('/tasks')
    await page.getByLabel('Token').waitFor()
  })

  it('does not wait to be known again when it comes back, and is asked for a token if the session has ended', async () => {
    const visitor = await admin()
    const { page, context } = visitor
    await page.getByRole('listitem', { name: /numbers\/counter/ }).waitFor()
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    await page.route('**/api/v1/session', async (route) => {
      await held
      await route.continue()
    })
    await page.reload()
    await page.getByRole('listitem', { name: /numbers\/counter/ }).waitFor()
    await page.getByRole('link', { name: 'New script' }).waitFor()
    release()

    await context.clearCookies()
    await visitor.go('/tasks/quiet')
    await page.reload()
    await page.getByLabel('Token').waitFor()
    await page.getByLabel('Token').fill(server.token)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('heading', { name: 'quiet' }).waitFor()
  })

  it('gives others a token that reads only, and takes it back', async () => {
    const visitor = await admin()
    await visitor.go('/settings/tokens')
    await visitor.page.getByRole('textbox', { name: 'Name' }).fill('wall')
    await visitor.page.getByRole('button', { name: 'New token' }).click()
    const secret = (await visitor.page.locator('.made code').textContent()) ?? ''
    await visitor.shoot('tokens')

    const reader = await stranger()
    await reader.page.goto(`${server.origin}/login#token=${secret}`)
    await reader.go('/tasks/quiet')
    await reader.page.getByRole('heading', { name: 'quiet' }).waitFor()
    expect(await reader.page.getByRole('button', { name: 'Run now' }).count()).toBe(0)
    expect(await reader.page.getByRole('link', { name: 'New script' }).count()).toBe(0)
    await reader.go('/settings')
    await reader.page.getByText('You are wall (reader).').waitFor()
    expect(await reader.page.getByText('Tokens').count()).toBe(0)

    await visitor.page.getByRole('row', { name: /wall/ }).getByRole('button', { name: 'Revoke' }).click()
    await visitor.page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
    await visitor.page.getByText('It is revoked.').waitFor()
    await reader.go('/runs')
    await reader.page.getByLabel('Token').waitFor()

    await visitor.go('/settings/audit')
    await visitor.page
      .getByRole('cell', { name: /token\.(create|revoke)/ })
      .first()
      .waitFor()
    await visitor.shoot('audit')
  })
})

describe('somebody who writes a script', () => {
  it('uploads it, sees it fire, and sees its value in the chart', async () => {
    const visitor = await admin()
    const { page } = visitor
    await page.getByRole('link', { name: 'New script' }).click()
    await page
      .getByText('Drop a .py file here')
      .locator('..')
      .locator('input')
      .setInputFiles({ name: 'fresh.py', mimeType: 'text/x-python', buffer: Buffer.from(COUNTER) })
    await page.getByText('No problems.').waitFor()
    await page.getByText('every 2s').first().waitFor()
    await visitor.shoot('new-script')
    const path = page.getByRole('textbox', { name: 'Path below the scripts directory' })
    expect(await path.inputValue()).toBe('fresh.py')
    await path.fill('uploads/fresh.py')
    await page.getByRole('button', { name: 'Save and schedule' }).click()
    await page.getByRole('heading', { name: 'uploads/fresh' }).waitFor()
    await page.getByRole('table', { name: 'Runs' }).getByText('succeeded').nth(2).waitFor()
    await visitor.shoot('task-runs')

    await page.getByText('Values', { exact: true }).click()
    const chart = page.getByRole('img', { name: /^count: last [\d\s]+, least/ })
    await chart.waitFor()
    await page.getByRole('table', { name: 'Points' }).getByText('pcs').nth(2).waitFor()
    await visitor.shoot('task-values')
  })

  it('reads beside the editor what is wrong, and when it fires, while they type', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/scripts/new')
    await type(page, '# /// script\n# [tool.dropcron]\n# schdule = "@daily"\n# ///\ndef run():\n    pass\n')
    await page
      .getByText(/schdule.*schedule/)
      .first()
      .waitFor()
    await page.getByText('1 problem').waitFor()
    expect(await page.getByRole('button', { name: 'Save and schedule' }).isDisabled()).toBe(true)
    await page.locator('.cm-lint-marker-error').waitFor()
    await visitor.shoot('new-script-problem')
    await type(
      page,
      '# /// script\n# [tool.dropcron]\n# schedule = "30 2 * * *"\n# timezone = "Europe/Berlin"\n# ///\ndef run():\n    pass\n',
    )
    await page.getByText('No problems.').waitFor()
    await page
      .getByText(/02:30:00/)
      .first()
      .waitFor()
    expect(await page.getByRole('button', { name: 'Save and schedule' }).isEnabled()).toBe(true)
    await type(page, '')
    page.on('dialog', (dialog) => void dialog.accept())
  })

  it('tries it once, which no list shows', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/scripts/new')
    await type(
      page,
      '# /// script\n# [tool.dropcron]\n# ///\ndef run():\n    print("tried")\n    return {"answer": 42}\n',
    )
    await page.getByRole('button', { name: 'Try once' }).click()
    const trial = page.locator('section', { hasText: 'Trial run' })
    await trial.getByText('succeeded').waitFor()
    await trial.getByText('tried').last().waitFor()
    await trial.getByText('42').waitFor()
    await visitor.shoot('new-script-tried')
    page.on('dialog', (dialog) => void dialog.accept())
    await visitor.go('/scripts')
    await page.getByRole('link', { name: 'quiet.py' }).waitFor()
    await visitor.shoot('scripts')
  })

  it('breaks it, reads why, comes to the line, and mends it', async () => {
    server.write('breakable.py', BREAKABLE)
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/breakable')
    await page.getByRole('heading', { name: 'breakable' }).waitFor()
    await page.getByRole('button', { name: 'Run now' }).click()
    await page.getByRole('heading', { name: 'Return value' }).waitFor()
    await page.getByRole('columnheader', { name: 'days' }).waitFor()
    await visitor.shoot('run-value')

    await visitor.go('/scripts/edit/breakable.py')
    await type(page, BREAKABLE.replace('    return', '    raise ValueError("no <b>hosts</b>")\n    return'))
    await page.getByText('No problems.').waitFor()
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await page.getByText('breakable.py is saved.').waitFor()
    await visitor.go('/tasks/breakable/script')
    await page.getByText('raise', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Run now' }).click()
    await page.getByRole('heading', { name: 'Error' }).waitFor()
    await page.getByText('ValueError: no <b>hosts</b>').first().waitFor()
    await visitor.shoot('run-failed')
    await page.getByRole('link', { name: /breakable\.py", line 6/ }).click()
    await page.locator('.cm-marked-line', { hasText: 'raise ValueError' }).waitFor()
    await visitor.shoot('task-script')

    // What changed since it worked.
    await page.locator('.n-select.version').last().click()
    await page.locator('.n-base-select-option').last().click()
    await page.locator('.cm-changedLine, .cm-insertedLine').first().waitFor()
    await visitor.shoot('task-diff')
  })

  it('is not overwritten by somebody else', async () => {
    server.write('shared.py', QUIET)
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/scripts/edit/shared.py')
    await page.getByText('Runs at new year').waitFor()
    server.write('shared.py', QUIET.replace('new year', 'midsummer'))
    await type(page, QUIET.replace('new year', 'easter'))
    await page.getByText('No problems.').waitFor()
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await page.getByText('Somebody else changed the file meanwhile.').waitFor()
    page.on('dialog', (dialog) => void dialog.accept())
  })
})

describe('somebody who watches', () => {
  it('sees output as it is printed, in its colors, and cancels the run', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/talker')
    await page.getByRole('button', { name: 'Run now' }).click()
    const output = page.getByRole('log', { name: 'Output' })
    await output.getByText('first words').waitFor()
    server.signal('say-0')
    await output.getByText('signal 0').waitFor()
    expect(await output.getByText('signal 0').evaluate((element) => getComputedStyle(element).color)).toBe(
      'rgb(180, 35, 35)',
    )
    server.signal('say-1')
    await output.getByText('signal 1').waitFor()
    await page.getByText('live').waitFor()

    await page.getByRole('textbox', { name: 'Search output' }).fill('signal')
    await page.getByText('1 of 2').waitFor()
    await visitor.shoot('run-live')
    await page.getByRole('textbox', { name: 'Search output' }).fill('')

    await visitor.go('/')
    await page.getByRole('link', { name: 'talker' }).first().waitFor()
    await page.goBack()
    await page.getByRole('button', { name: 'Cancel run' }).click()
    await page.getByText('somebody cancelled it').waitFor()
    await page.getByText('signal 1').waitFor()
    await visitor.shoot('run-cancelled')
  })

  it('sees on the first page what runs, what comes, what there was, and its values', async () => {
    const visitor = await admin()
    const { page } = visitor
    await page.getByRole('listitem', { name: /^numbers\/counter: .*\d+ succeeded/ }).waitFor()
    await page.getByRole('link', { name: /^count numbers\/counter/ }).waitFor()
    await page
      .getByText(/^in \d+d/)
      .first()
      .waitFor()
    await visitor.shoot('home')
  })

  it('has the number that a run returned with every digit, and text that looks like HTML as text', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/numbers%2Fcounter/runs')
    await page.getByRole('table', { name: 'Runs' }).getByText('succeeded').first().click()
    await page.getByText('12345678901234567890').waitFor()
    await page.getByText('<b>not bold</b>').waitFor()
    expect(await page.locator('b').count()).toBe(0)
  })

  it('asks what became of an instant, and is told', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/numbers%2Fcounter/instants')
    await page.getByRole('button', { name: 'Why?' }).last().click()
    await page.locator('.why .verdict').waitFor()
    await visitor.shoot('task-instants')
  })
})

describe('somebody who operates', () => {
  it('pauses a task with a reason, and lets it go on', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/quiet')
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByLabel('Reason, for others who look').fill('moving the disk')
    await visitor.shoot('pause')
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click()
    await page.getByText('moving the disk').waitFor()
    await visitor.go('/tasks?status=paused')
    await page
      .getByRole('table', { name: 'Tasks' })
      .getByRole('link', { name: 'quiet', exact: true })
      .waitFor()
    await visitor.go('/tasks/quiet')
    await page.getByRole('button', { name: 'Resume' }).click()
    await page.getByText('moving the disk').waitFor({ state: 'detached' })
    await page.getByText('Changes').click()
    await page.getByRole('cell', { name: 'resumed' }).waitFor()
    await visitor.shoot('task-changes')
  })

  it('finds a task by a part of its name, and runs it from the list', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks')
    const quiet = page.getByRole('table', { name: 'Tasks' }).getByRole('link', { name: 'quiet', exact: true })
    await quiet.waitFor()
    await visitor.shoot('tasks')
    await page.getByPlaceholder('Search name, description, owner').fill('count')
    await quiet.waitFor({ state: 'detached' })
    await page.getByPlaceholder('Search name, description, owner').fill('new year')
    await quiet.waitFor()
    await page.getByRole('button', { name: 'Run now: quiet' }).click()
    await page.getByText(/^Run \d+ is on its way\.$/).waitFor()
  })

  it('runs a task with arguments of its own', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/quiet')
    await page.getByRole('button', { name: 'Run with…' }).click()
    const args = page.getByLabel('Arguments of run(), as JSON')
    await args.fill('not json')
    await page.getByRole('dialog').getByRole('button', { name: 'Run now' }).click()
    await page.getByRole('alert').waitFor()
    await args.fill('{"city": "Kyoto"}')
    await page.getByRole('dialog').getByRole('button', { name: 'Run now' }).click()
    await page.getByText('Kyoto', { exact: true }).waitFor()
  })

  it('overrides a schedule, sees what that means, and goes back', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/quiet/schedule')
    const field = page.getByRole('textbox', { name: 'Schedule', exact: true })
    await field.fill('15 4 * * *')
    await page
      .getByText(/04:15:00/)
      .first()
      .waitFor()
    await visitor.shoot('task-schedule')
    await page.getByRole('button', { name: 'Override the schedule' }).click()
    await page.getByText('The schedule of the header is overridden.').waitFor()
    await page.getByRole('button', { name: 'Back to the header' }).click()
    await page.getByText('The schedule of the header is overridden.').waitFor({ state: 'detached' })
    expect(await field.inputValue()).toBe('0 3 1 1 *')
    await field.fill('61 * * * *')
    await page.getByRole('alert').waitFor()
  })

  it('finds runs by status, time and value, and passes on what is found by its address', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/runs')
    const table = page.getByRole('table', { name: 'Runs' })
    await table.getByText('succeeded').first().waitFor()
    await page.getByRole('textbox', { name: 'Task' }).fill('numbers/counter')
    await page.getByRole('textbox', { name: /^Number in the return value/ }).fill('count')
    await page.getByRole('textbox', { name: 'The least that the number may be' }).fill('1e15')
    await page.getByText('No run matches.').waitFor()
    await page.getByRole('textbox', { name: 'The least that the number may be' }).fill('1000')
    await table
      .getByText(/^count [\d\s]+ · exact/)
      .first()
      .waitFor()
    await expect.poll(() => page.url()).toContain('min=1000')
    await visitor.shoot('runs-filtered')

    const other = await admin({ timezoneId: 'Asia/Tokyo' })
    await other.page.goto(`${page.url()}&status=failed,succeeded&from=2026-01-01T00:00:00Z`)
    const theirs = other.page.getByRole('table', { name: 'Runs' })
    await theirs
      .getByText(/^count /)
      .first()
      .waitFor()
    expect(await other.page.getByLabel('From').inputValue()).toBe('2026-01-01T09:00')
    expect(await other.page.getByRole('textbox', { name: 'Task' }).inputValue()).toBe('numbers/counter')
    await other.page.getByRole('button', { name: 'Reset' }).click()
    await expect.poll(() => other.page.url()).toMatch(/#\/runs$/)
  })

  it('comes from the count of what failed to those runs', async () => {
    const visitor = await admin()
    const { page } = visitor
    await page.getByRole('link', { name: /^Failed today/ }).click()
    await page.getByRole('heading', { name: 'Runs' }).waitFor()
    const query = new URL(page.url()).hash
    expect(query).toContain('status=failed,timed_out,lost')
    expect(query).toMatch(/from=\d{4}-\d\d-\d\dT2[23]:00:00/)
  })

  it('sees what packages a task has, and a page of a task whatever its address says', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/quiet/packages')
    await page.getByText('It asks for no packages').waitFor()
    await visitor.go('/tasks/quiet/nosuch')
    await page.getByRole('table', { name: 'Runs' }).waitFor()
  })

  it('judges a point', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go(`/series?s=${encodeURIComponent('numbers/counter:count')}`)
    await page.getByRole('button', { name: 'Judge…' }).nth(3).click()
    await page.getByLabel('Note').fill('the disk was full')
    await page.getByRole('button', { name: 'Reject' }).click()
    await page.getByText('rejected').first().waitFor()
    await page.getByText('Only suspect').click()
    await page.getByRole('table', { name: 'Points' }).getByText('rejected').waitFor()
    await visitor.shoot('series')
  })
})

describe('the page', () => {
  const ADDRESSES = [
    '/',
    '/tasks',
    '/tasks/numbers%2Fcounter',
    '/tasks/numbers%2Fcounter/runs',
    '/tasks/numbers%2Fcounter/instants',
    '/tasks/numbers%2Fcounter/script',
    '/tasks/numbers%2Fcounter/header',
    '/tasks/numbers%2Fcounter/packages',
    '/tasks/numbers%2Fcounter/schedule',
    '/tasks/numbers%2Fcounter/events',
    '/runs',
    '/runs?status=failed,lost&from=2026-11-01T00:00:00Z&value=count&min=1',
    '/series',
    `/series?s=${encodeURIComponent('numbers/counter:count')}`,
    '/scripts',
    '/scripts/new',
    '/settings',
    '/settings/nodes',
    '/settings/tokens',
    '/settings/audit',
  ]

  it('fits on a phone', async () => {
    const visitor = await admin(PHONE)
    const { page } = visitor
    for (const address of ADDRESSES) {
      await visitor.go(address)
      await page.waitForLoadState('networkidle').catch(() => undefined)
      await page.locator('main h1').first().waitFor({ state: 'attached' })
      await page.locator('[aria-busy=true]').waitFor({ state: 'detached' })
      if (/counter$|\?s=/.test(decodeURIComponent(address))) await page.locator('.chart').waitFor()
      expect(await visitor.overflow(), address).toBeLessThanOrEqual(0)
      const name =
        address
          .split('?')[0]
          ?.replace(/%2F|\//g, '-')
          .replace(/^-$/, '-home') ?? ''
      await visitor.shoot(`phone${name}`)
    }
    await page.getByRole('button', { name: 'Menu' }).click()
    await page.getByRole('dialog').getByRole('link', { name: 'Tasks' }).click()
    await page.getByRole('heading', { name: 'Tasks' }).waitFor()
  })

  it.each(['light', 'dark'] as const)('keeps nobody out, %s', async (colorScheme) => {
    const visitor = await admin({ colorScheme })
    const { page } = visitor
    const check = async (where: string) => expect(await visitor.violations(), where).toEqual([])
    for (const address of [...ADDRESSES, '/tasks/quiet', '/nothing']) {
      await visitor.go(address)
      await page.waitForLoadState('networkidle').catch(() => undefined)
      await page.locator('main h1').first().waitFor({ state: 'attached' })
      await page.locator('[aria-busy=true]').waitFor({ state: 'detached' })
      await check(address)
    }
    for (const name of ['Pause', 'Run with…']) {
      await visitor.go('/tasks/quiet')
      await page.getByRole('button', { name }).click()
      await page.getByRole('dialog').waitFor()
      await check(name)
      await page.keyboard.press('Escape')
      await page.getByRole('dialog').waitFor({ state: 'hidden' })
    }
    // A run that failed, with its traceback, and one that printed in colors.
    for (const [status, seen] of [
      ['failed', page.getByRole('heading', { name: 'Error' })],
      ['succeeded', page.getByRole('log', { name: 'Output' }).getByText('counting')],
    ] as const) {
      await visitor.go(`/runs?status=${status}&task=${status === 'failed' ? 'breakable' : 'numbers/counter'}`)
      await page.getByRole('table', { name: 'Runs' }).getByText(status).first().click()
      await seen.waitFor()
      await check(status)
    }
    await visitor.page.getByRole('button', { name: 'Settings' }).click()
    await page.getByText('Log out').click()
    await page.getByLabel('Token').waitFor()
    await check('login')
  })

  it('is dark where the system is, or where somebody wants it', async () => {
    const visitor = await admin({ colorScheme: 'dark' })
    const { page } = visitor
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    expect(await ground()).toBe('rgb(15, 19, 26)')
    await page.getByRole('listitem', { name: /numbers\/counter/ }).waitFor()
    await visitor.shoot('dark-home')
    for (const [address, name] of [
      ['/tasks', 'dark-tasks'],
      ['/tasks/numbers%2Fcounter', 'dark-task'],
      ['/scripts/new', 'dark-new-script'],
    ] as const) {
      await visitor.go(address)
      await page
        .locator('main')
        .getByText(/numbers\/counter|No problems/)
        .first()
        .waitFor()
      await page.waitForLoadState('networkidle').catch(() => undefined)
      await visitor.shoot(name)
    }
    await page.getByRole('button', { name: 'Colors' }).click()
    expect(await ground()).toBe('rgb(245, 246, 248)')
    await page.reload()
    await page.getByRole('button', { name: 'Colors' }).waitFor()
    expect(await ground()).toBe('rgb(245, 246, 248)')
  })

  it('speaks Chinese to who wants it', async () => {
    const visitor = await admin({ locale: 'zh-CN' })
    const { page } = visitor
    await page.getByRole('heading', { name: '正在运行' }).waitFor()
    expect(await page.getAttribute('html', 'lang')).toBe('zh-CN')
    await visitor.shoot('chinese-home')
    await visitor.go('/tasks')
    await page.getByRole('columnheader', { name: '最近运行' }).waitFor()
    await visitor.shoot('chinese-tasks')
    await visitor.go('/settings')
    await page.getByText('English').click()
    await page.getByRole('heading', { name: 'Settings' }).waitFor()
  })

  it('shows instants in the zone of the task, of the browser, or in UTC', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/quiet')
    const next = page.locator('.strip time').first()
    const shown = async () => (await next.textContent())?.trim().slice(-5)
    await next.waitFor()
    expect(await shown()).toBe('03:00')
    await page.getByRole('button', { name: /^Times/ }).click()
    await page.getByText('UTC', { exact: true }).click()
    await expect.poll(shown).toBe('18:00')
    await page.getByRole('button', { name: /^Times/ }).click()
    await page.getByText('Browser (Europe/Berlin)').click()
    await expect.poll(shown).toBe('19:00')
  })

  it('can be used with the keyboard alone', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks')
    await page
      .getByRole('table', { name: 'Tasks' })
      .getByRole('link', { name: 'quiet', exact: true })
      .waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('content')
    const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? '')
    for (let presses = 0; presses < 60 && (await focused()) !== 'quiet'; presses += 1)
      await page.keyboard.press('Tab')
    expect(await focused()).toBe('quiet')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'quiet' }).waitFor()
  })

  it('closes its dialogs by Escape, and gives back the place where one was', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks/quiet')
    for (const name of ['Pause', 'Run with…']) {
      const button = page.getByRole('button', { name })
      await button.focus()
      await page.keyboard.press('Enter')
      const dialog = page.getByRole('dialog')
      await dialog.waitFor()
      // The first field has the focus, and Tab does not lead out.
      await expect
        .poll(() => dialog.evaluate((element) => element.contains(document.activeElement)))
        .toBe(true)
      for (let presses = 0; presses < 12; presses += 1) {
        await page.keyboard.press('Tab')
        expect(await dialog.evaluate((element) => element.contains(document.activeElement)), name).toBe(true)
      }
      await page.keyboard.press('Escape')
      await dialog.waitFor({ state: 'hidden' })
      await expect.poll(() => button.evaluate((element) => element === document.activeElement)).toBe(true)
    }
  })

  it('shows where the focus is', async () => {
    const visitor = await admin()
    const { page } = visitor
    await visitor.go('/tasks')
    await page.getByRole('table', { name: 'Tasks' }).getByRole('link').first().waitFor()
    const unseen: string[] = []
    for (let presses = 0; presses < 25; presses += 1) {
      await page.keyboard.press('Tab')
      const focused = await page.evaluate(() => {
        const element = document.activeElement as HTMLElement
        const frames = [element, element.closest('.n-input, .n-base-selection, .n-button')].flatMap((one) =>
          one ? [one, ...one.children] : [],
        )
        const isShown = frames.some((one) => {
          const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one)
          return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none'
        })
        return isShown || element === document.body
          ? ''
          : `${element.tagName} ${element.className} ${element.textContent}`.slice(0, 200)
      })
      if (focused) unseen.push(focused)
    }
    expect(unseen).toEqual([])
  })

  it('comes in less than 400 kB, and loads neither charts nor the editor for its first screen', async () => {
    const visitor = await stranger()
    const { page } = visitor
    let bytes = 0
    const files: string[] = []
    page.on('requestfinished', (request) => {
      if (request.url().includes('/api/')) return
      files.push(request.url())
      void request.sizes().then((sizes) => (bytes += sizes.responseBodySize))
    })
    await page.goto(server.link)
    await page.getByRole('listitem', { name: /numbers\/counter/ }).waitFor()
    await page.waitForLoadState('networkidle').catch(() => undefined)
    expect(bytes).toBeGreaterThan(50_000)
    expect(bytes).toBeLessThan(FIRST_LOAD)
    expect(files.filter((file) => /CodeEditor|SeriesPanel/.test(file))).toEqual([])
  })

  it('works below a path of a proxy', async () => {
    const proxy = await proxyBelow('/tools/cron', server.origin)
    try {
      const { port } = proxy.address() as AddressInfo
      const visitor = await stranger(`http://127.0.0.1:${port}/tools/cron`)
      await visitor.page.goto(`${visitor.origin}/login#token=${server.token}`)
      await visitor.page.getByRole('listitem', { name: /numbers\/counter/ }).waitFor()
      expect(visitor.page.url()).toBe(`${visitor.origin}/#/`)
      await visitor.go('/tasks/quiet')
      await visitor.page.getByRole('button', { name: 'Run now' }).click()
      await visitor.page.getByRole('heading', { name: /quiet\s*Run \d+/ }).waitFor()
      await visitor.page.getByText('Tokyo', { exact: true }).waitFor()
    } finally {
      proxy.closeAllConnections()
      proxy.close()
    }
  })
})

/** A proxy as people put before a service: below a path, with the name that the browser knows. */
function proxyBelow(path: string, origin: string): Promise<HttpServer> {
  const proxy = createServer((incoming, outgoing) => {
    if (!incoming.url?.startsWith(`${path}/`)) {
      outgoing.writeHead(404).end()
      return
    }
    const forwarded = ask(
      `${origin}${incoming.url.slice(path.length)}`,
      { method: incoming.method, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      },
    )
    forwarded.on('error', () => outgoing.destroy())
    outgoing.on('close', () => forwarded.destroy())
    incoming.pipe(forwarded)
  })
  return new Promise((resolve) => proxy.listen(0, '127.0.0.1', () => resolve(proxy)))
}
