import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

const KEY = 'dropcron.session /'
const OPERATOR = { name: 'ops', role: 'operator' }

function answers(status: number, body: unknown) {
  const answer = () => Promise.resolve(Response.json(body, { status }))
  vi.stubGlobal('fetch', vi.fn(answer))
}

/** The session as a page finds it that is opened now. */
async function opened() {
  vi.resetModules()
  return import('@/session')
}

describe('the session', () => {
  beforeEach(() => localStorage.clear())
  afterEach(() => vi.unstubAllGlobals())

  it('begins with who it was the last time, and has the server’s word the last', async () => {
    answers(200, OPERATOR)
    const first = await opened()
    expect(first.session.value).toBeNull()
    await first.resumeSession()
    expect(first.mayOperate.value).toBe(true)

    const second = await opened()
    expect(second.session.value).toMatchObject(OPERATOR)
    answers(200, { name: 'ops', role: 'reader' })
    await second.resumeSession()
    expect(second.mayOperate.value).toBe(false)
    expect(JSON.parse(localStorage.getItem(KEY) ?? '')).toMatchObject({ role: 'reader' })
  })

  it('asks the server once, and again after it had no answer', async () => {
    answers(503, { title: 'Service Unavailable' })
    const page = await opened()
    await expect(page.resumeSession()).rejects.toThrow()
    answers(200, OPERATOR)
    await page.resumeSession()
    await page.resumeSession()
    expect(fetch).toHaveBeenCalledTimes(1)
  })

  it('leaves nothing behind when it has ended', async () => {
    answers(200, OPERATOR)
    const page = await opened()
    await page.resumeSession()
    page.forget()
    expect(page.session.value).toBeNull()
    await Promise.resolve()
    expect(localStorage.getItem(KEY)).toBeNull()
    expect((await opened()).session.value).toBeNull()
  })

  it('takes what it cannot read for nobody', async () => {
    localStorage.setItem(KEY, '{"role": 7')
    expect((await opened()).session.value).toBeNull()
    localStorage.setItem(KEY, '{"role": 7}')
    expect((await opened()).session.value).toBeNull()
  })
})
