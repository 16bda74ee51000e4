import type { Command } from 'commander'
import { SETTINGS, variable } from '../../../src/config.ts'
import { cell, code, page, sentence, table } from './markdown.ts'

type Setting = keyof typeof SETTINGS

/** The help says `text (repeatable; PORTCULLIS_X; default: y)`, and here each has a column of its own. */
const DESCRIPTION = /^(?<text>.*) \((?:repeatable; )?(?<variable>PORTCULLIS_\w+); default: (?<otherwise>.*)\)$/

const rowOf = (serve: Command, name: Setting): string[] => {
  const option = serve.options.find(({ long }) => long === `--${name}`)
  const { text, variable: named, otherwise } = DESCRIPTION.exec(option?.description ?? '')?.groups ?? {}
  if (!option || text === undefined || otherwise === undefined || named !== variable(name)) {
    throw new Error(`serve --help must say of --${name}: what it is (${variable(name)}; default: …)`)
  }
  const flag = SETTINGS[name] === 'many' ? `${option.flags} …` : option.flags
  const key = name === 'data' ? '' : code(name)
  return [code(flag), code(named), key, cell(otherwise), cell(sentence(text))]
}

export const settings = (program: Command): string => {
  const serve = program.commands.find((command) => command.name() === 'serve') as Command
  const names = Object.keys(SETTINGS) as Setting[]
  const unknown = serve.options.filter(({ long }) => names.every((name) => long !== `--${name}`))
  if (unknown.length > 0) throw new Error(`no setting: ${unknown.map(({ long }) => long).join(', ')}`)
  return page(
    'Settings of a node',
    'A flag wins over its environment variable, that over `portcullis.toml` in the data folder, and that over the default. A\n' +
      'setting that is wrong, or a key in the file that is none, is said in one line, and nothing starts (exit 2).',
    table(
      ['flag', 'environment', 'in `portcullis.toml`', 'default', 'what it is'],
      names.map((name) => rowOf(serve, name)),
    ),
    'Flags with `…` may be given more than once. Their lists are comma-separated in the environment, and lists in the file:',
    '```toml\nlisten = "0.0.0.0:7070"\npublic-url = "https://gate.example.com"\nallow-host = ["gate.lan", "gate.example.com"]\n```',
    '`HOST:PORT` is `127.0.0.1:7070`, `[::1]:7070` or, for all addresses, `:7070`.',
    'These are for the command line, which talks to a running node:',
    table(
      ['environment', 'what it is'],
      [
        [
          code('PORTCULLIS_DATA'),
          'The data folder of the node, as `--data`. Without both it is looked for in the default places.',
        ],
        [code('PORTCULLIS_API_KEY'), 'The API key for `--url`.'],
      ],
    ),
  )
}
