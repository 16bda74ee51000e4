import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { SERVICE_UNIT } from '../config.ts'
import { shellWords } from '../shell-word.ts'
import { failed, noNode, systemCode, usage } from './exit.ts'

/** Where the node is reached: its socket, or a URL with an API key. */
export type Place = { kind: 'socket'; path: string } | { kind: 'url'; base: string; apiKey: string }

export interface Globals {
  data?: string
  url?: string
  json?: boolean
}

// In a compiled binary the main file is one inside the binary.
const program = (): string[] => (Bun.main.startsWith('/$bunfs/') ? [process.execPath] : [process.execPath, Bun.main])

/**
 * The same command for someone with the rights. sudo drops PORTCULLIS_DATA and changes the home,
 * so a folder that was not in the arguments is put there.
 */
export const sudoCommand = (argv: string[], folder: string, stated: boolean): string =>
  shellWords(['sudo', ...program(), ...(stated ? [] : ['--data', folder]), ...argv])

const remote = (url: string): Place => {
  const parsed = URL.parse(url)
  if (!parsed || !/^https?:$/.test(parsed.protocol)) {
    throw usage(`--url: "${url}" is not an http or https URL; write it like http://127.0.0.1:7071`)
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    throw usage('--url takes a plain URL; the API key goes into PORTCULLIS_API_KEY')
  }
  const apiKey = process.env.PORTCULLIS_API_KEY?.trim()
  if (!apiKey) throw usage('--url needs an API key in PORTCULLIS_API_KEY; make one with `portcullis apikey create`')
  // A header can't carry anything else, and the error that it throws would show the key.
  if (!/^[\x21-\x7e]+$/.test(apiKey)) throw usage('PORTCULLIS_API_KEY holds something that is not an API key')
  return { kind: 'url', base: parsed.origin + parsed.pathname.replace(/\/+$/, ''), apiKey }
}

/**
 * Finds the running node. A folder that was named, by `--data` or PORTCULLIS_DATA, is the only one looked in:
 * falling back to another node could revoke the wrong tokens. Throws `Exit`.
 */
export const locate = (globals: Globals, argv: string[], defaults: () => string[]): Place => {
  if (globals.url !== undefined) return remote(globals.url)
  const named = globals.data ?? (process.env.PORTCULLIS_DATA || undefined)
  if (named === '') throw usage('--data: the path is empty')
  const folders = named === undefined ? defaults() : [named]
  const tried: string[] = []
  for (const folder of folders) {
    const path = join(folder, 'control.sock')
    try {
      accessSync(path, constants.W_OK)
      return { kind: 'socket', path }
    } catch (error) {
      const code = systemCode(error)
      if (code === 'EACCES' || code === 'EPERM') {
        const command = sudoCommand(argv, folder, globals.data !== undefined)
        throw failed(`No permission for ${path}. Type:\n  ${command}`)
      }
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
      tried.push(path)
    }
  }
  throw nothingAnswers(tried.map((path) => `${path} (not there)`))
}

/** The message when no node answers: what was tried, and how to start one. */
export const nothingAnswers = (tried: string[]) =>
  noNode(
    [
      'No node answers. Tried:',
      ...tried.map((place) => `  ${place}`),
      // Who typed `sudo portcullis serve` there would get an empty one in the home of root.
      existsSync(SERVICE_UNIT)
        ? 'Start the service: sudo systemctl start portcullis. Why it ended: sudo journalctl -u portcullis -n 20'
        : 'Start one with `portcullis serve`, or name a running one with --data DIR or --url URL.',
    ].join('\n'),
  )
