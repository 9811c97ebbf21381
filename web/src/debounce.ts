import { onScopeDispose, ref, watch, type Ref } from 'vue'

/** A value that follows another once that has not changed for a moment. */
export function useDebounced<T>(source: Readonly<Ref<T>>, ms: number): Ref<T> {
  const followed = ref(source.value) as Ref<T>
  let timer: number | undefined
  watch(source, (value) => {
    window.clearTimeout(timer)
    timer = window.setTimeout(() => (followed.value = value), ms)
  })
  onScopeDispose(() => window.clearTimeout(timer))
  return followed
}
