import { ExactNumber } from './json'

/** A number as people read it in a dense place: at most six significant digits, thousands apart. */
export function formatNumber(value: number | string | ExactNumber): string {
  const number = Number(value instanceof ExactNumber ? value.text : value)
  if (!Number.isFinite(number)) return String(value)
  const size = Math.abs(number)
  if (size !== 0 && (size >= 1e12 || size < 1e-4)) return number.toExponential(3).replace('e+', 'e')
  const digits = size >= 100_000 ? 0 : undefined
  return new Intl.NumberFormat('en', {
    ...(digits === undefined ? { maximumSignificantDigits: 6 } : { maximumFractionDigits: digits }),
  })
    .format(number)
    .replaceAll(',', '\u202f')
    .replace('-', '−')
}

// Less than this says nothing that the change itself does not say.
const LEAST_PERCENT = 0.01

/** How far a number is from another: `+1.2 (+3 %)`; of 0 there is no percentage. */
export function formatChange(value: number, previous: number): string {
  const change = value - previous
  const sign = change > 0 ? '+' : ''
  const absolute = `${sign}${formatNumber(Number(change.toPrecision(4)))}`
  if (previous === 0 || change === 0) return change === 0 ? '±0' : absolute
  const percent = (change / Math.abs(previous)) * 100
  if (Math.abs(percent) < LEAST_PERCENT) return absolute
  return `${absolute} (${sign}${formatNumber(Number(percent.toPrecision(3)))}\u202f%)`
}
