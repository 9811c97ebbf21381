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

/**
 * Milliseconds by the browser's clock, from the beginning of the navigation until a frame with all parts is on the screen. The page tells it
 * itself: who asks from outside takes time of a browser that has better things to do.
 */
async function visit(context, { path, parts }) {
  const page = await context.newPage()
  await page.addInitScript(watch, parts)
  const told = page.waitForEvent('console', (message) => message.text().startsWith('seen '))
  await page.goto(`${origin}/#${path}`, { waitUntil: 'commit' })
  const took = Number((await told).text().slice('seen '.length))
  await page.close()
  return took
}

function watch(parts) {
  const look = () => {
    const isThere = parts.every((part) => document.querySelector(part)?.getClientRects().length > 0)
    // Behind the frame that this one begins.
    if (isThere) requestAnimationFrame(() => setTimeout(() => console.debug(`seen ${performance.now()}`)))
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
}
