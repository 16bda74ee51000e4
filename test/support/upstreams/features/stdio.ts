import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { newFeatureServer } from './server.ts'

serveStdio(() => newFeatureServer(null))
