import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import {
  chromium,
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type Page,
} from 'playwright-core'

import type { Server } from './server'

const SCREENSHOTS = join(import.meta.dirname, '../../screenshots')
// What WCAG 2.1 asks for on its levels A and AA.
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const LONGEST_WAIT = Number(process.env.DROPCRON_TEST_PATIENCE ?? 60_000)

/** A browser without a window. */
export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.DROPCRON_TEST_BROWSER ?? 'chromium',
    // Containers give no user namespaces for the sandbox; the pages are ours.
    args: ['--no-sandbox'],
  })
}

/** Somebody with a browser of their own, logged in or not. */
export class Visitor {
  /** What the browser complained about: errors, and what the security policy refused. */
  readonly complaints: string[] = []

  private constructor(
    readonly context: BrowserContext,
    readonly page: Page,
    readonly origin: string,
  ) {
    page.setDefaultTimeout(LONGEST_WAIT)
    page.on('pageerror', (error) => this.complaints.push(error.message))
    page.on('console', (message) => {
      // A refusal that the page shows is an answer, not a mistake of the page.
      const isRefusal = message.text().startsWith('Failed to load resource')
      if (message.type() === 'error' && !isRefusal) this.complaints.push(message.text())
    })
  }

  static async arrive(
    browser: Browser,
    origin: string,
    options: BrowserContextOptions = {},
  ): Promise<Visitor> {
    const context = await browser.newContext({
      viewport: { width: 1360, height: 900 },
      locale: 'en-GB',
      timezoneId: 'Europe/Berlin',
      ...options,
    })
    return new Visitor(context, await context.newPage(), origin)
  }

  /** Somebody who has come by the link of the first start. */
  static async loggedIn(
    browser: Browser,
    server: Server,
    options: BrowserContextOptions = {},
  ): Promise<Visitor> {
    const visitor = await Visitor.arrive(browser, server.origin, options)
    await visitor.page.goto(server.link)
    await visitor.page.locator('main h1').waitFor({ state: 'attached' })
    return visitor
  }

  /** Goes to a page by its address. */
  async go(path: string): Promise<void> {
    await this.page.goto(`${this.origin}/#${path}`)
  }

  /** Keeps what the page looks like, for people to look at. */
  async shoot(name: string): Promise<void> {
    mkdirSync(SCREENSHOTS, { recursive: true })
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), animations: 'disabled' })
  }

  /** What axe finds that keeps people out: each rule with the elements that break it. */
  async violations(): Promise<string[]> {
    await this.page.evaluate(AXE)
    return this.page.evaluate(async (rules) => {
      const { axe } = window as unknown as { axe: typeof import('axe-core') }
      const { violations } = await axe.run(document, { runOnly: rules })
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join('\n')}`)
    }, RULES)
  }

  /** By how much the page is wider than its window. */
  async overflow(): Promise<number> {
    return this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
  }

  async leave(): Promise<void> {
    await this.context.close()
  }
}
