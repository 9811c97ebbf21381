import { openSearchPanel } from '@codemirror/search'
import { EditorView } from '@codemirror/view'
import { mount } from '@vue/test-utils'
import { afterEach, describe, expect, it } from 'vitest'
import { nextTick } from 'vue'

import CodeEditor from '@/components/CodeEditor.vue'
import { preferences } from '@/preferences'

describe('the editor', () => {
  afterEach(() => (preferences.language = 'en'))

  it('searches in the language of the page, also after that has changed', async () => {
    const shown = mount(CodeEditor, { props: { modelValue: 'x = 1', label: 'x' } })
    const view = EditorView.findFromDOM(shown.element as HTMLElement) as EditorView
    preferences.language = 'zh-CN'
    await nextTick()
    openSearchPanel(view)
    expect(shown.findAll('.cm-search button').map((button) => button.text())).toEqual([
      '下一个',
      '上一个',
      '全选',
      '替换',
      '全部替换',
      '×',
    ])
    expect(shown.find('.cm-search').text()).toContain('区分大小写')
  })
})
