import type { UsageWindow } from '../usage.ts'

/** How far back, as the address of the page says it, and as people do. */
export const WINDOWS = { '1h': '1 hour', '24h': '24 hours', '7d': '7 days', '30d': '30 days' } as const
export type Window = keyof typeof WINDOWS

/** How far back each part of a token's page reaches. */
export interface TokenView {
  window: UsageWindow
  since: Window
}

export const tokenPath = (id: string, { window, since }: TokenView): string =>
  `/tokens/${id}?${new URLSearchParams({ window, since })}`
