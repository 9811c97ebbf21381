/** A length of time as people read it: `812 ms`, `4.2 s`, `3m 12s`, `2h 05m`, `3d 4h`. Units are the same in every language. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return ''
  if (ms < 0) return `−${formatDuration(-ms)}`
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`
  return formatSeconds(Math.round(ms / 1000))
}

/** The same in whole seconds, for what counts up or down: `0 s`, `59 s`, `1m 00s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m ${padded(seconds % 60)}s`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return `${hours}h ${padded(minutes % 60)}m`
  const days = Math.floor(hours / 24)
  return `${days}d ${hours % 24}h`
}

function padded(number: number): string {
  return String(number).padStart(2, '0')
}

/** A span that somebody wrote down, exactly: `1 h 30 min`, `1 min 30 s`, `400 ms`, `0 s`. Units are the same in every language. */
export function formatSpan(seconds: number): string {
  if (!Number.isFinite(seconds)) return ''
  const parts: string[] = []
  let rest = Math.round(seconds * 1000)
  for (const [unit, length] of SPANS) {
    const count = Math.floor(rest / length)
    if (count > 0) parts.push(`${count} ${unit}`)
    rest -= count * length
  }
  return parts.join(' ') || '0 s'
}

const SPANS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const
