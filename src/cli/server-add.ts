import { type Command, Option } from 'commander'
import type { ServerCreatedJson, ServerJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { usage } from './exit.ts'
import { readHeaders } from './headers.ts'
import { warn } from './output.ts'
import { createdText } from './server-text.ts'
import { stdioFlagIn, type StdioOptions, stdioOptions, stdioRequest } from './stdio.ts'

const KINDS = ['auto', 'mcp', 'http'] as const satisfies readonly ServerJson['kind'][]

const ADD_USAGE = `[options] <NAME> <URL>
       portcullis server add [options] <NAME> --stdio -- <COMMAND> [ARG...]`

const DASHES = 'Put -- before the command: portcullis server add NAME --stdio -- COMMAND ARG...\n'
const isMisread = (argv: readonly string[]): boolean => argv.includes('--stdio') && !argv.includes('--')

interface AddOptions extends StdioOptions {
  kind?: string
  path?: string
  header?: string[]
}

/** What `server add` is to add: its name, and a URL or a command. Throws `Exit` with what to type. */
const readWords = ({ argv }: Cli, words: readonly string[], options: AddOptions) => {
  const at = argv.indexOf('--')
  const command = at === -1 ? [] : argv.slice(at + 1)
  const [name, url, ...extra] = words.slice(0, words.length - command.length)
  const isCommand = options.stdio ?? false
  if (name === undefined) throw usage("error: missing required argument 'NAME', before --")
  if (isCommand && at === -1)
    throw usage(`error: put -- before the command: portcullis server add ${name} --stdio -- COMMAND ARG...`)
  if (isCommand && url !== undefined)
    // It may be a value that somebody put beside its flag, so it is not repeated.
    throw usage('error: too many words before --: a server has a name, and either a URL or a command')
  if (isCommand && command.length === 0) throw usage('error: no command stands after --')
  if (!isCommand && at !== -1) throw usage('error: a command stands after --; to run one, add --stdio before --')
  if (!isCommand && url === undefined) throw usage("error: missing required argument 'URL'")
  if (extra.length > 0) throw usage(`error: too many arguments: "${extra.join(' ')}"`)
  return isCommand ? { name, command } : { name, url }
}

const bodyOf = async (cli: Cli, words: readonly string[], options: AddOptions) => {
  const { name, url, command } = readWords(cli, words, options)
  const { kind, path, header = [], ...stdio } = options
  if (command) {
    if (kind !== undefined || header.length > 0)
      throw usage('error: --kind and --header are for URLs; a command gets what it needs by --env')
    const isRemote = cli.globals.url !== undefined
    return { name, stdio: await stdioRequest(command, stdio, isRemote), ...(path !== undefined && { path }) }
  }
  const flag = stdioFlagIn(stdio)
  if (flag !== null) throw usage(`error: ${flag} is for commands: it goes with --stdio`)
  const headers = await readHeaders(header)
  return { name, url, ...(kind && { kind }), ...(path !== undefined && { path }), ...(headers && { headers }) }
}

const add = async (cli: Cli, words: readonly string[], options: AddOptions) => {
  const body = await bodyOf(cli, words, options)
  // What is fetched first may take a minute.
  if (options.stdio && process.stderr.isTTY) await warn('Starting it once, to see what it is …')
  const server = await cli.client().post<ServerCreatedJson>('/servers', body)
  await cli.print(server, () => createdText(server))
}

export const serverAddCommand = (server: Command, cli: Cli): void => {
  const command = server
    .command('add')
    .description('add a server, a URL or a command, and see what answers there')
    .usage(ADD_USAGE)
    .argument('<NAME>', 'its name in URLs: /s/NAME')
    .argument('[URL]', 'where it is, http or https')
    .argument('[COMMAND...]', 'with --stdio, after --: the program that runs it, and its arguments')
    .addOption(new Option('--kind <KIND>', 'what it speaks (default: auto)').choices(KINDS))
    .option('--path <PATH>', 'completes the URL shown to people, such as /mcp (default: what the probe finds)')
    .option(
      "--header <'NAME: VALUE'>",
      "header to send there; 'Name: @file' reads the value from a file, 'Name: -' from stdin (repeatable)",
      (value: string, previous: string[] = []) => [...previous, value],
    )
    // Without the dashes, options of the command are taken for ours.
    .configureOutput({ outputError: (text, write) => write(isMisread(cli.argv) ? `${text}${DASHES}` : text) })
  stdioOptions(command).action((name: string, url: string | undefined, rest: string[], options: AddOptions) =>
    add(cli, [name, ...(url === undefined ? [] : [url]), ...rest], options),
  )
}
