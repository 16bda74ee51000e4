import { hostname } from 'node:os'
import type { LinkJson, NodeJson } from './answers.ts'
import type { Cli } from './cli.ts'
import type { Client } from './client.ts'
import { warn } from './output.ts'

const LOOPBACK = /^(?:127\.|\[?::1\]?$|localhost$)/

/** What to do with a link to this very machine where the browser is on another. */
const fromElsewhere = (link: LinkJson, listening: NodeJson['listening'] | undefined): string | null => {
  const { hostname: host, protocol, port: given } = new URL(link.url)
  const port = given || (protocol === 'https:' ? '443' : '80')
  if (!LOOPBACK.test(host)) return null
  if (listening && !LOOPBACK.test(listening.console.host))
    return "From another machine, put this one's IP address in place of localhost."
  const to = host === 'localhost' ? '127.0.0.1' : host
  return [
    'The console answers on this machine alone. To open the link on another, type there first:',
    `  ssh -L ${port}:${to}:${port} ${hostname()}`,
  ].join('\n')
}

/** A one-time link alone on its line, so that it can be copied whole; on stderr, how to use it from elsewhere. */
export const printLink = async (
  cli: Cli,
  client: Client,
  { what, link, document }: { what: string; link: LinkJson; document: unknown },
): Promise<void> => {
  await cli.print(document, () => [`${what} It works once, until ${link.expiresAt}:`, '', link.url, ''].join('\n'))
  if (cli.json) return
  // A node of an earlier version does not say what it is bound to.
  const { listening }: Partial<NodeJson> = await client.get<NodeJson>('/node')
  const hint = fromElsewhere(link, listening)
  if (hint !== null) await warn(hint)
}
