import type { ContentBlock } from '@modelcontextprotocol/server'

/** One red pixel. */
export const PNG_BASE64 =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='

export const TEXT = {
  type: 'text',
  text: 'This is a simple text response for testing.',
} as const satisfies ContentBlock

export const PNG = { type: 'image', data: PNG_BASE64, mimeType: 'image/png' } as const satisfies ContentBlock

/** A WAV file without a sample. */
export const WAV = {
  type: 'audio',
  data: 'UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=',
  mimeType: 'audio/wav',
} as const satisfies ContentBlock

export const RESOURCE = {
  type: 'resource',
  resource: {
    uri: 'test://embedded-resource',
    mimeType: 'text/plain',
    text: 'This is an embedded resource content.',
  },
} as const satisfies ContentBlock
