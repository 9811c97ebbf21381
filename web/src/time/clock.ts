import { computed, onScopeDispose, readonly, ref } from 'vue'

/*
 * One clock for the whole page: the server's, since instants are. It ticks once a second while something shows it, so that
 * a hundred countdowns cost one timer.
 */
const now = ref(Date.now())
/** Offsets of zones are multiples of a quarter of an hour: their days begin with one. */
export const QUARTER = 900_000
const quarter = computed(() => Math.floor(now.value / QUARTER) * QUARTER)
let aheadMs = 0
let watchers = 0
let timer: number | undefined

/** Says what the server's clock showed just now. */
export function setClock(serverNow: string, receivedAt = Date.now()): void {
  const server = Date.parse(serverNow)
  if (!Number.isNaN(server)) {
    aheadMs = server - receivedAt
    tick()
  }
}

/** The server's time in milliseconds, as it goes on. */
export function useNow() {
  watchers += 1
  if (timer === undefined) {
    tick()
    timer = window.setInterval(tick, 1000)
  }
  onScopeDispose(() => {
    watchers -= 1
    if (watchers === 0) {
      window.clearInterval(timer)
      timer = undefined
    }
  })
  return readonly(now)
}

/** The server's time in whole steps of so many milliseconds: what follows it changes once in a step. */
export function useNowBy(step: number) {
  const now = useNow()
  return computed(() => Math.floor(now.value / step) * step)
}

/** A moment of the day that it is, in any zone, for what stands hundreds of times on a screen: it seldom changes. */
export function useToday() {
  useNow()
  return quarter
}

/** The server's time in milliseconds at this moment. */
export function serverNow(): number {
  return Date.now() + aheadMs
}

function tick(): void {
  now.value = serverNow()
}
