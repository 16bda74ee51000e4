import { type McpServer, ResourceTemplate } from '@modelcontextprotocol/server'
import { PNG_BASE64 } from './samples.ts'

const STATIC_TEXT = 'test://static-text'
const STATIC_BINARY = 'test://static-binary'
const WATCHED = 'test://watched-resource'

export const registerResources = (server: McpServer): void => {
  const plain = { description: 'Text', mimeType: 'text/plain' }
  server.registerResource('static-text', STATIC_TEXT, plain, () => ({
    contents: [{ uri: STATIC_TEXT, mimeType: 'text/plain', text: 'This is the content of the static text resource.' }],
  }))
  server.registerResource('static-binary', STATIC_BINARY, { description: 'A PNG', mimeType: 'image/png' }, () => ({
    contents: [{ uri: STATIC_BINARY, mimeType: 'image/png', blob: PNG_BASE64 }],
  }))
  server.registerResource('watched', WATCHED, plain, () => ({
    contents: [{ uri: WATCHED, mimeType: 'text/plain', text: 'Never changes.' }],
  }))
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'Data by id', mimeType: 'application/json' },
    (uri, { id }) => {
      const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` })
      return { contents: [{ uri: uri.href, mimeType: 'application/json', text }] }
    },
  )
  // Nothing ever changes, so that nobody's subscription has to be remembered.
  server.server.setRequestHandler('resources/subscribe', () => ({}))
  server.server.setRequestHandler('resources/unsubscribe', () => ({}))
}
