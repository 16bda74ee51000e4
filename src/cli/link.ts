import type { LinkJson } from './answers.ts'

/** A one-time link alone on its line, so that it can be copied whole. */
export const linkText = (what: string, link: LinkJson): string =>
  [`${what} It works once, until ${link.expiresAt}:`, '', link.url, ''].join('\n')
