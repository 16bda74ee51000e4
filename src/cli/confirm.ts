import { createInterface } from 'node:readline'
import { failed } from './exit.ts'
import { warn } from './output.ts'

/** The next line typed, or null when the terminal was closed or Ctrl-C typed instead. */
const lineTyped = (): Promise<string | null> =>
  new Promise((resolve) => {
    const reader = createInterface({ input: process.stdin, output: process.stderr })
    reader.once('SIGINT', () => reader.close())
    reader.once('close', () => resolve(null))
    reader.question('', (line) => {
      resolve(line)
      reader.close()
    })
  })

/** Asks on a terminal, and refuses elsewhere. Returns when the answer was yes; throws `Exit` otherwise. */
export const confirm = async (question: string): Promise<void> => {
  if (!process.stdin.isTTY) throw failed(`${question} Say --yes to go on.`)
  await warn(`${question} Type yes to go on.`)
  const answer = await lineTyped()
  if (answer?.trim().toLowerCase() !== 'yes') throw failed('Nothing was done.')
}
