import { appendFileSync } from 'node:fs'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { newFeatureServer } from '../support/upstreams/features/server.ts'

/** A server that is a command and writes down, in the file that is its argument, all that is said to it. */
const [file = ''] = process.argv.slice(2)
process.stdin.on('data', (chunk: Buffer) => appendFileSync(file, chunk))
serveStdio(() => newFeatureServer(null))
