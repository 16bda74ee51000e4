import type { Command } from 'commander'
import type { KeyRemovedJson, RingKeyJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment, type Client } from './client.ts'
import { confirm } from './confirm.ts'
import { table } from './output.ts'
import { receipt } from './receipt.ts'

interface RemoveOptions {
  revoke?: boolean
  yes?: boolean
}

const liveTokensOf = async (client: Client, id: string): Promise<number> => {
  const { items } = await client.all<RingKeyJson>('/keys')
  return items.find((key) => key.id === id)?.liveTokens ?? 0
}

const remove = async (cli: Cli, id: string, options: RemoveOptions): Promise<void> => {
  const client = cli.client()
  const path = `/keys/${segment(id)}`
  if (options.revoke && !options.yes) {
    const live = await liveTokensOf(client, id)
    if (live > 1) await confirm(`${live} tokens would die with key ${id}.`)
  }
  const removed = await client.delete<KeyRemovedJson>(path, options.revoke ? { revoke: 'true' } : {})
  const revocation = removed?.revocation ?? null
  const done = `Key ${id} is removed.`
  await cli.print(removed ?? {}, () => (revocation ? `${done}\n${receipt(revocation)}` : done))
}

export const keyCommand = (program: Command, cli: Cli): void => {
  const key = program.command('key').description("the keys that make and check tokens' secrets")

  key
    .command('ls')
    .description('list the keys of the ring')
    .action(async () => {
      const page = await cli.client().all<RingKeyJson>('/keys')
      const row = (k: RingKeyJson) => [k.id, k.current ? 'yes' : 'no', k.createdAt, String(k.liveTokens)]
      await cli.print(page, () => table(['ID', 'CURRENT', 'CREATED', 'LIVE TOKENS'], page.items.map(row), 'No keys.'))
    })

  key
    .command('rotate')
    .description('make a new key; new secrets use it, and old ones stay valid')
    .action(async () => {
      const made = await cli.client().post<RingKeyJson>('/keys')
      await cli.print(made, () => `New secrets use key ${made.id} from now on.`)
    })

  key
    .command('rm')
    .description('remove a key; refused while live tokens use it')
    .argument('<ID>')
    .option('--revoke', 'revoke the live tokens that use it')
    .option('--yes', "don't ask when more than one token would die")
    .action((id: string, options: RemoveOptions) => remove(cli, id, options))
}
