import { HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorState, StateEffect, StateField, type Extension } from '@codemirror/state'
import { Decoration, EditorView, type DecorationSet } from '@codemirror/view'
import { tags } from '@lezer/highlight'

import type en from '@/i18n/en'

/** Code in the colors of tokens.css, light and dark. */
export const editorTheme: Extension = [
  EditorView.theme({
    '&': { backgroundColor: 'var(--surface)', color: 'var(--ink)', fontSize: '13px' },
    // The frame shows the focus: gutters would cover it here.
    '&.cm-focused': { outline: 'none' },
    '.cm-scroller': { fontFamily: 'var(--font-code)', lineHeight: '1.55' },
    '.cm-content': { caretColor: 'var(--ink)', padding: '8px 0' },
    '.cm-cursor': { borderLeftColor: 'var(--ink)' },
    '.cm-gutters': { backgroundColor: 'var(--surface)', color: 'var(--ink-muted)', border: 'none' },
    '.cm-lineNumbers .cm-gutterElement': { paddingLeft: '12px', minWidth: '40px' },
    '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--surface-sunken)' },
    '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
      backgroundColor: 'var(--accent-soft)',
    },
    '.cm-selectionMatch': { backgroundColor: 'var(--accent-soft)' },
    '.cm-searchMatch': { backgroundColor: 'var(--mark)' },
    '.cm-panels, .cm-tooltip': {
      backgroundColor: 'var(--surface)',
      color: 'var(--ink)',
      border: '1px solid var(--line-strong)',
      fontFamily: 'var(--font)',
    },
    '.cm-button': {
      backgroundImage: 'none',
      backgroundColor: 'var(--surface-sunken)',
      color: 'var(--ink)',
      border: '1px solid var(--line-strong)',
      borderRadius: 'var(--radius-small)',
      fontSize: 'var(--text-small)',
      cursor: 'pointer',
      '&:hover': { backgroundColor: 'var(--surface-hover)' },
      '&:active': { backgroundImage: 'none' },
    },
    '.cm-textfield': {
      backgroundColor: 'var(--surface)',
      color: 'var(--ink)',
      border: '1px solid var(--line-strong)',
      borderRadius: 'var(--radius-small)',
      fontSize: 'var(--text-small)',
    },
    '.cm-textfield::placeholder': { color: 'var(--ink-muted)' },
    '.cm-panel.cm-search label': { fontSize: 'var(--text-small)' },
    '.cm-panel [name=close]': { color: 'var(--ink)', cursor: 'pointer' },
    '.cm-tooltip-lint': { padding: '2px', borderRadius: '6px', maxWidth: '520px' },
    '.cm-diagnostic': { whiteSpace: 'pre-wrap' },
    '.cm-marked-line': { backgroundColor: 'var(--warn-soft)' },
    '.cm-changedLine, .cm-insertedLine': { backgroundColor: 'var(--good-soft) !important' },
    '.cm-deletedChunk, .cm-deletedLine': { backgroundColor: 'var(--bad-soft) !important' },
    '.cm-changedText': { background: 'none !important', textDecoration: 'underline' },
    '.cm-deletedText': { background: 'none !important', textDecoration: 'line-through' },
    '.cm-collapsedLines': { background: 'var(--surface-sunken)', color: 'var(--ink-muted)' },
  }),
  syntaxHighlighting(
    HighlightStyle.define([
      {
        tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword, tags.definitionKeyword],
        color: 'var(--ansi-5)',
      },
      { tag: [tags.string, tags.special(tags.string)], color: 'var(--ansi-2)' },
      { tag: [tags.number, tags.bool, tags.null], color: 'var(--ansi-6)' },
      { tag: [tags.comment, tags.lineComment], color: 'var(--ink-muted)', fontStyle: 'italic' },
      {
        tag: [tags.function(tags.variableName), tags.function(tags.definition(tags.variableName))],
        color: 'var(--ansi-4)',
      },
      { tag: [tags.className, tags.typeName], color: 'var(--ansi-3)' },
      { tag: tags.meta, color: 'var(--ansi-3)' },
      { tag: tags.invalid, color: 'var(--failed)' },
    ]),
  ),
]

const PHRASES: Record<string, keyof typeof en.editor> = {
  Find: 'find',
  Replace: 'replace_with',
  next: 'next',
  previous: 'previous',
  all: 'all',
  'match case': 'match_case',
  regexp: 'regexp',
  'by word': 'by_word',
  replace: 'replace',
  'replace all': 'replace_all',
  close: 'close',
  'current match': 'current_match',
  'on line': 'on_line',
  'replaced match on line $': 'replaced_on_line',
  'replaced $ matches': 'replaced_matches',
  'Go to line': 'go_to_line',
  go: 'go',
  Diagnostics: 'diagnostics',
  'No diagnostics': 'no_diagnostics',
  '$ unchanged lines': 'unchanged_lines',
  'Control character': 'control_character',
  'Selection deleted': 'selection_deleted',
}

/** What the editor itself says, in the language of the page. */
export function editorPhrases(t: (key: string) => string): Extension {
  const phrases = Object.entries(PHRASES).map(([phrase, key]) => [phrase, t(`editor.${key}`)])
  return EditorState.phrases.of(Object.fromEntries(phrases) as Record<string, string>)
}

/** Marks the line that begins at this place. */
export const markLine = StateEffect.define<number>()

/** The line that somebody came for. */
export const markedLine = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marked, transaction) {
    let next = marked.map(transaction.changes)
    for (const effect of transaction.effects) {
      if (effect.is(markLine))
        next = Decoration.set([Decoration.line({ class: 'cm-marked-line' }).range(effect.value)])
    }
    return next
  },
  provide: (field) => EditorView.decorations.from(field),
})
