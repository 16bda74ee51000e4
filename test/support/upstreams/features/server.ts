import { fromJsonSchema, McpServer, type ServerNotifier, type Server } from '@modelcontextprotocol/server'
import { callFeature, type Session, TOOLS } from './tools.ts'

const CAPABILITIES = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  logging: {},
  completions: {},
}
export const BLOB = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('base64')
const RESOURCES = [
  { uri: 'test://text', name: 'text', mimeType: 'text/plain' },
  { uri: 'test://blob', name: 'blob', mimeType: 'application/octet-stream' },
]

const ANY = fromJsonSchema<Record<string, unknown>>({ type: 'object' })

/**
 * A server that uses all that MCP has, whatever carries it. `notify` where it lives no longer than a request, as for
 * clients of 2026-07-28 over HTTP.
 */
export const newFeatureServer = (notify: ServerNotifier | null): McpServer => {
  const product = new McpServer(
    { name: 'features', title: 'All of MCP', version: '1.2.3' },
    { capabilities: CAPABILITIES, instructions: 'Use all of it: „ja“, 🙂.' },
  )
  const { server } = product
  const session: Session = {
    server,
    notify: notify ?? notifierOf(server),
    aborted: [],
    heard: [],
    subscribed: new Set(),
  }

  server.setRequestHandler('tools/list', () => ({ tools: TOOLS }))
  server.setRequestHandler('tools/call', ({ params }, context) =>
    callFeature(session, params.name, params.arguments ?? {}, context),
  )
  // Two pages, so that a cursor has to pass.
  server.setRequestHandler('resources/list', ({ params }) =>
    params?.cursor === 'second'
      ? { resources: RESOURCES.slice(1) }
      : { resources: RESOURCES.slice(0, 1), nextCursor: 'second' },
  )
  server.setRequestHandler('resources/templates/list', () => ({
    resourceTemplates: [{ uriTemplate: 'test://item/{id}', name: 'item' }],
  }))
  server.setRequestHandler('resources/read', ({ params: { uri } }) => ({
    contents: [uri === 'test://blob' ? { uri, blob: BLOB } : { uri, mimeType: 'text/plain', text: `text of ${uri}` }],
  }))
  server.setRequestHandler('resources/subscribe', ({ params }) => {
    session.subscribed.add(params.uri)
    return {}
  })
  server.setRequestHandler('resources/unsubscribe', ({ params }) => {
    session.subscribed.delete(params.uri)
    return {}
  })
  server.setRequestHandler('prompts/list', () => ({
    prompts: [{ name: 'greeting', arguments: [{ name: 'name', required: true }] }],
  }))
  server.setRequestHandler('prompts/get', ({ params }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Greet ${params.arguments?.['name']}` } }],
  }))
  server.setRequestHandler('completion/complete', ({ params }) => {
    const values = ['paris', 'park', 'rome'].filter((value) => value.startsWith(params.argument.value))
    return { completion: { values, total: values.length, hasMore: false } }
  })
  server.setNotificationHandler('notifications/roots/list_changed', () => void session.heard.push('roots/list_changed'))
  server.fallbackNotificationHandler = async ({ method, params }) => {
    session.heard.push(`${method} ${JSON.stringify(params)}`)
  }
  server.setRequestHandler('features/custom', { params: ANY }, (params) => ({ echoed: params }))
  return product
}

const notifierOf = (server: Server): ServerNotifier => ({
  toolsChanged: () => void server.sendToolListChanged(),
  promptsChanged: () => void server.sendPromptListChanged(),
  resourcesChanged: () => void server.sendResourceListChanged(),
  resourceUpdated: (uri) => void server.sendResourceUpdated({ uri }),
})
