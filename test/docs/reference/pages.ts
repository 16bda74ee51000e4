import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../../package.json' with { type: 'json' }
import { programFor } from '../../../src/cli/program.ts'
import { startDemoUpstream } from '../../../src/demo/upstream.ts'
import { startCluster, type TestMember } from '../../support/cluster.ts'
import { bearer } from '../../support/secret.ts'
import { api, type OpenApi } from './api.ts'
import { audit } from './audit.ts'
import { commands } from './commands.ts'
import { errors } from './errors.ts'
import { files } from './files.ts'
import { limits } from './limits.ts'
import { metrics } from './metrics.ts'
import { settings } from './settings.ts'

const FOLDER = join(import.meta.dir, '../../../docs/reference')

const never = () => Promise.reject(new Error('no command is run here'))

/** The command line, to be read and not run. */
export const commandLine = () =>
  programFor([], {
    serve: never,
    demo: never,
    restore: never,
    doctor: never,
    verifyOffline: never,
    version: { version: packageJson.version, commit: null, date: null },
    defaultDataFolders: () => [],
  }).program

/** What one of two nodes says of itself after a refusal, a cut and a look at a server, so that each metric has its labels. */
const asked = async () => {
  await using cluster = await startCluster(2)
  const { running: node } = cluster.members[0] as TestMember
  const upstream = startDemoUpstream()
  await node.addServer('demo', upstream.url)
  await node.api('POST', '/servers/demo/probes')
  await node.addCommand('command', ['cat'])
  const { token } = await node.createToken('reader', ['demo'])
  await fetch(`${node.gate}/s/demo`)
  await fetch(`${node.gate}/s/demo`, { headers: bearer(token) })
  upstream.stop()
  const exposition = await (await fetch(`${node.console}/metrics`)).text()
  const { json } = await node.api<OpenApi>('GET', '/openapi.json')
  return { exposition, openapi: json }
}

/** The reference as it should be, by the names of its files. */
export const pages = async (): Promise<Record<string, string>> => {
  const { exposition, openapi } = await asked()
  const program = commandLine()
  return {
    'api.md': api(openapi),
    'audit.md': audit(),
    'commands.md': commands(program),
    'errors.md': errors(),
    'files.md': files(),
    'limits.md': limits(),
    'metrics.md': metrics(exposition),
    'settings.md': settings(program),
  }
}

export const written = (name: string): string => readFileSync(join(FOLDER, name), 'utf8')

if (import.meta.main) {
  for (const [name, text] of Object.entries(await pages())) await Bun.write(join(FOLDER, name), text)
}
