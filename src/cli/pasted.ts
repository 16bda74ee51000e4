import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import type { TokenFoundJson } from './answers.ts'
import type { Client } from './client.ts'
import { failed } from './exit.ts'
import { warn } from './output.ts'

/** What stands in place of an id when the secret itself comes from stdin. */
export const FROM_STDIN = '-'

/** The next line typed, without showing it: a leaked secret may still live. */
const lineUnseen = async (): Promise<string> => {
  const output = new Writable({ write: (_chunk, _encoding, done) => done() })
  // From here on the terminal repeats nothing by itself.
  const reader = createInterface({ input: process.stdin, output, terminal: true })
  const line = new Promise<string>((resolve) => {
    reader.once('line', (typed) => {
      resolve(typed)
      reader.close()
    })
    reader.once('SIGINT', () => reader.close())
    reader.once('close', () => resolve(''))
  })
  await warn('Paste the secret, then press Enter. It is not shown.')
  return line
}

/** The token whose secret stands on stdin: so it is in no history and in no list of processes. */
export const pastedToken = async (client: Client): Promise<TokenFoundJson> => {
  const secret = (await (process.stdin.isTTY ? lineUnseen() : Bun.stdin.text())).trim()
  if (secret === '') throw failed('Nothing was pasted, and nothing was done.')
  return client.post('/tokens/lookups', { secret })
}
