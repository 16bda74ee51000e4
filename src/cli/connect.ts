import { type Command, Option } from 'commander'
import { CLIENT_IDS, PLACEHOLDER } from '../connect.ts'
import type { ConnectJson, SnippetJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { failed } from './exit.ts'
import { say, table, warn } from './output.ts'

const PLACE: Record<SnippetJson['kind'], string> = {
  command: 'type in a shell',
  file: 'put into',
  code: 'write in a program',
}

const placeOf = ({ kind, file }: SnippetJson): string => (file === null ? PLACE[kind] : `${PLACE[kind]} ${file}`)

export const clientOption = (description: string): Option =>
  new Option('--client <CLIENT>', description).choices(CLIENT_IDS)

/** What is said of a client that can use none of the token's servers. */
export const noSnippetText = (all: ConnectJson, client: string): string =>
  `${client} can call no server of this token; ${Object.keys(all).join(', ') || 'no client'} can.`

/** What is to be pasted goes to stdout alone, so that it can go into a file; what to know about it, to stderr. */
export const saySnippet = async (snippet: SnippetJson): Promise<void> => {
  const { title, text, note, links } = snippet
  await warn([`${title}: ${placeOf(snippet)}`, ...(note ? [note] : [])].join('\n'))
  await say(text)
  const after = [
    ...(text.includes(PLACEHOLDER) ? [`Write the token in place of ${PLACEHOLDER}: it was shown once.`] : []),
    ...links.map(({ server, url }) => `Link that installs ${server}: ${url}`),
  ]
  if (after.length > 0) await warn(after.join('\n'))
}

const listText = (all: ConnectJson): string =>
  table(
    ['CLIENT', 'TITLE', 'WHAT TO DO'],
    Object.entries(all).map(([id, snippet]) => [id, snippet.title, placeOf(snippet)]),
    'None of its servers is left.',
  )

export const connectCommand = (program: Command, cli: Cli): void => {
  program
    .command('connect')
    .description('what to paste into a client, so that it reaches the servers of a token')
    .argument('<ID>', 'id or name of the token')
    .addOption(clientOption('which client; without it, those that can be named'))
    .action(async (id: string, { client }: { client?: string }) => {
      const all = await cli.client().get<ConnectJson>(`/tokens/${segment(id)}/connect`)
      if (client === undefined) return cli.print(all, () => listText(all))
      const snippet = all[client]
      if (!snippet) throw failed(noSnippetText(all, client))
      if (cli.json) return cli.print(snippet, () => '')
      await saySnippet(snippet)
    })
}
