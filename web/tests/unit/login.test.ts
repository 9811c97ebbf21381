import { describe, expect, it, vi } from 'vitest'

import { address } from '@/api/client'
import { Problem, problemFrom, problemText } from '@/api/problem'
import { takeToken } from '@/login'

function taken(href: string): [string | undefined, string | undefined] {
  const url = new URL(href)
  const replaceState = vi.fn<(state: unknown, unused: string, url: string) => void>()
  const token = takeToken(url as unknown as Location, { replaceState } as unknown as History)
  return [token, replaceState.mock.calls[0]?.[2]]
}

describe('a link with a token', () => {
  it('gives the token and leaves an address without it', () => {
    expect(taken('http://127.0.0.1:8642/login#token=dropcron_abc')).toEqual(['dropcron_abc', '/#/'])
    expect(taken('https://example.org/tools/cron/login#token=x')).toEqual(['x', '/tools/cron/#/'])
  })

  it('leaves other addresses alone', () => {
    expect(taken('http://127.0.0.1:8642/#/tasks/token=x')).toEqual([undefined, undefined])
    expect(taken('http://127.0.0.1:8642/login')).toEqual([undefined, '/#/login'])
  })
})

describe('the API', () => {
  it('is beside the page, and leaves out what is not asked', () => {
    expect(address('/api/v1/runs', { task: 'a/b', status: '', cursor: undefined, limit: '5' })).toMatch(
      /\/api\/v1\/runs\?task=a%2Fb&limit=5$/,
    )
  })

  it('says what is wrong, and where', () => {
    const problem = problemFrom(422, {
      title: 'Unprocessable Content',
      detail: 'the script has a problem',
      errors: [
        { line: 3, column: 4, message: '`schdule` is no key; did you mean `schedule`?' },
        { message: 'no run' },
      ],
    })
    expect(problemText(problem, '')).toBe(
      'the script has a problem\n3:4: `schdule` is no key; did you mean `schedule`?\nno run',
    )
  })

  it('says something of an answer from in between, and of none', () => {
    expect(problemText(problemFrom(502, '<html>bad gateway</html>'), 'no answer')).toBe('HTTP 502')
    expect(problemText(new TypeError('Failed to fetch'), 'no answer')).toBe('no answer')
    expect(new Problem(404, 'Not Found', '').message).toBe('Not Found')
  })
})
