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

/** What Naive UI draws, in the colors and sizes of tokens.css. */
export function themeOverrides(theme: 'light' | 'dark'): GlobalThemeOverrides {
  const color = PALETTE[theme]
  return {
    common: {
      fontFamily: 'var(--font)',
      fontFamilyMono: 'var(--font-code)',
      fontSize: '14px',
      borderRadius: '6px',
      borderRadiusSmall: '5px',
      primaryColor: color.accent,
      primaryColorHover: color.accentHover,
      primaryColorPressed: color.accentPressed,
      primaryColorSuppl: color.accent,
      infoColor: color.accent,
      successColor: color.good,
      errorColor: color.bad,
      errorColorHover: color.bad,
      warningColor: color.warn,
      bodyColor: color.ground,
      cardColor: color.surface,
      modalColor: color.surface,
      popoverColor: color.surface,
      inputColor: color.surface,
      hoverColor: color.hover,
      borderColor: color.strong,
      dividerColor: color.line,
      textColorBase: color.ink,
      textColor1: color.ink,
      textColor2: color.ink,
      textColor3: color.muted,
      placeholderColor: color.muted,
      iconColor: color.muted,
    },
    Button: {
      textColorPrimary: color.onAccent,
      textColorHoverPrimary: color.onAccent,
      textColorPressedPrimary: color.onAccent,
      textColorFocusPrimary: color.onAccent,
      fontWeight: '500',
    },
    // Naive UI draws no border around inputs in the dark.
    Input: { border: `1px solid ${color.strong}` },
    Select: { peers: { InternalSelection: { border: `1px solid ${color.strong}` } } },
    Tabs: { tabFontWeightActive: '600', tabGapMediumLine: '24px' },
    Tooltip: { color: color.ink, textColor: color.surface },
  }
}
