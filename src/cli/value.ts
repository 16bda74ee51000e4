import { readFile } from 'node:fs/promises'
import { messageOf } from '../error.ts'
import { failed } from './exit.ts'

const withoutNewline = (text: string): string => text.replace(/\r?\n$/, '')

/** What stands for a flag's value: `@file`, or `-` for stdin, so that no secret need be typed into a shell's history. */
export const readValue = async (flag: string, spec: string): Promise<string> => {
  if (spec === '-') return withoutNewline(await Bun.stdin.text())
  if (!spec.startsWith('@')) return spec
  try {
    return withoutNewline(await readFile(spec.slice(1), 'utf8'))
  } catch (error) {
    throw failed(`${flag}: can't read ${spec.slice(1)}: ${messageOf(error)}`)
  }
}
