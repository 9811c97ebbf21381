/*
 * How long the first screen of a service takes in a browser: `node first_screen.mjs BROWSER LINK`, with the link of its first start.
 * A line of JSON for each screen: the first visit of all, and the median of those that find the page's files in the browser's cache.
 */
import { chromium } from 'playwright-core'

const [, , executablePath, link] = process.argv
const VISITS = 7

// A screen is there when each of these is.
const SCREENS = {
  home: { path: '/', parts: ['.tile .count', '.upcoming .task', '.timeline .bar', '.wall .card'] },
  tasks: { path: '/tasks', parts: ['.row-line .link', '.row-line .duration'] },
}

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const { origin } = new URL(link)
for (const [name, screen] of Object.entries(SCREENS)) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 } })
  // Whoever logs in has the page's files already: a stranger takes the session, and nothing else, along.
  const stranger = await browser.newContext()
  const login = await stranger.newPage()
  await login.goto(link)
  await login.locator('main h1').waitFor({ state: 'attached' })
  await context.addCookies(await stranger.cookies())
  await stranger.close()
  const first = await visit(context, screen)
  const again = []
  for (let count = 0; count < VISITS; count += 1) again.push(await visit(context, screen))
  again.sort((a, b) => a - b)
  console.log(JSON.stringify({ name, first, again: again[Math.floor(VISITS / 2)] }))
  await context.close()
}
await browser.close()

async function visit(context, { path, parts }) {
  const page = await context.newPage()
  const begun = performance.now()
  await page.goto(`${origin}/#${path}`, { waitUntil: 'commit' })
  await Promise.all(parts.map((part) => page.locator(part).first().waitFor()))
  const took = performance.now() - begun
  await page.close()
  return took
}
