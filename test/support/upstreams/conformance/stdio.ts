import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { startImplementation } from './implementation.ts'

/** The same upstream as a command: a process is one client's, so that what it tells its own server reaches that one. */
const { newServer } = startImplementation((server) => ({
  toolsChanged: () => server.sendToolListChanged(),
  promptsChanged: () => server.sendPromptListChanged(),
}))
serveStdio(newServer)
