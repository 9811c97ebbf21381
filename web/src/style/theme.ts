import type { GlobalThemeOverrides } from 'naive-ui'

/** The tokens that Naive UI computes with, so that it cannot read them from CSS variables. */
const PALETTE = {
  light: {
    ground: '#f5f6f8',
    surface: '#ffffff',
    sunken: '#f0f2f5',
    hover: '#f3f6fc',
    line: '#e2e6ec',
    strong: '#c9d0da',
    ink: '#1a2130',
    muted: '#566072',
    accent: '#2f5bd0',
    accentHover: '#4470e0',
    accentPressed: '#244bb3',
    good: '#17794a',
    bad: '#c32f2f',
    warn: '#8a5d00',
    onAccent: '#ffffff',
  },
  dark: {
    ground: '#0f131a',
    surface: '#171c25',
    sunken: '#11161e',
    hover: '#1e2531',
    line: '#29303c',
    strong: '#3b4454',
    ink: '#e5e9f0',
    muted: '#9ca7b8',
    accent: '#86a9ff',
    accentHover: '#a2beff',
    accentPressed: '#6d94f2',
    good: '#4fc08a',
    bad: '#ff8078',
    warn: '#e0b544',
    onAccent: '#0f131a',
  },
} as const

/** What Naive UI draws, in the colours and sizes of tokens.css. */
export function themeOverrides(theme: 'light' | 'dark'): GlobalThemeOverrides {
  const colour = PALETTE[theme]
  return {
    common: {
      fontFamily: 'var(--font)',
      fontFamilyMono: 'var(--font-code)',
      fontSize: '14px',
      borderRadius: '6px',
      borderRadiusSmall: '5px',
      primaryColor: colour.accent,
      primaryColorHover: colour.accentHover,
      primaryColorPressed: colour.accentPressed,
      primaryColorSuppl: colour.accent,
      infoColor: colour.accent,
      successColor: colour.good,
      errorColor: colour.bad,
      errorColorHover: colour.bad,
      warningColor: colour.warn,
      bodyColor: colour.ground,
      cardColor: colour.surface,
      modalColor: colour.surface,
      popoverColor: colour.surface,
      inputColor: colour.surface,
      hoverColor: colour.hover,
      borderColor: colour.strong,
      dividerColor: colour.line,
      textColorBase: colour.ink,
      textColor1: colour.ink,
      textColor2: colour.ink,
      textColor3: colour.muted,
      placeholderColor: colour.muted,
      iconColor: colour.muted,
    },
    Button: {
      textColorPrimary: colour.onAccent,
      textColorHoverPrimary: colour.onAccent,
      textColorPressedPrimary: colour.onAccent,
      textColorFocusPrimary: colour.onAccent,
      fontWeight: '500',
    },
    // Naive UI draws no border around inputs in the dark.
    Input: { border: `1px solid ${colour.strong}` },
    Select: { peers: { InternalSelection: { border: `1px solid ${colour.strong}` } } },
    Tabs: { tabFontWeightActive: '600', tabGapMediumLine: '24px' },
    Tooltip: { color: colour.ink, textColor: colour.surface },
  }
}
