import { HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { StateEffect, StateField, type Extension } from '@codemirror/state'
import { Decoration, EditorView, type DecorationSet } from '@codemirror/view'
import { tags } from '@lezer/highlight'

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
