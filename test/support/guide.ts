import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { builtBinary } from './binary.ts'
import { type Block, blocksOf } from './markdown.ts'
import { tempFolder } from './temp.ts'

export { type Block, blocksOf } from './markdown.ts'

/** What may stand after `sh`; nothing: it must end with 0. */
export const MODES = [
  '',
  /** Goes on while the rest runs. */
  'background',
  /** Its last command must end with something else than 0. */
  'fails',
  /** Can't be run on a test machine. */
  'elsewhere',
]

export interface Ran {
  block: Block
  stdout: string
  stderr: string
  /** null: it was not reached, or runs in the background. */
  code: number | null
}

export interface GuideOptions {
  /** Shell that is run first, unseen by the reader: what the document takes as given, such as a server to add. */
  before?: string
  /** Shell that is run last, to look at what the document left. */
  after?: string
  /** The same around the blocks under one heading: what a scene takes as given, and whether it went as told. */
  scenes?: Record<string, { before?: string; after?: string }>
  env?: Record<string, string>
  /** The folder that it is run in; without it an empty one, which is the home too. */
  cwd?: string
  /** What the shell is run by, in place of a network of its own; it gets `bash FILE` added. */
  runner?: string[]
  timeoutMs?: number
}

/** A network of its own, so that a document may name the default ports, and processes that end with it. */
const ISOLATED = ['unshare', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']

const isolated = (): string[] => (process.getuid?.() === 0 ? ISOLATED : [...ISOLATED, '--map-root-user'])

/** Whether a page can be run here; where tests must not be skipped, that it can't is a failure. */
export const mayRunGuides = (): boolean => {
  if (Bun.which('unshare') && Bun.spawnSync([...isolated(), 'true']).exitCode === 0) return true
  if (process.env['CI']) throw new Error('this test needs network and process namespaces (unshare) in CI')
  console.warn('SKIPPED LOUDLY: a page can only be run in namespaces of its own (unshare)')
  return false
}

/** What the shell runs in one go: a block, or what the reader does not see. */
interface Part {
  name: string
  block: Block
}

const unseen = (file: string, heading: string, text: string): Block => ({
  ...{ file, line: 0, heading, language: 'sh', mode: '', text, shown: null },
})

const partsOf = (file: string, blocks: Block[], { before, after, scenes = {} }: GuideOptions): Part[] => {
  const parts: Part[] = []
  const add = (name: string, text: string | undefined) => {
    if (text !== undefined) parts.push({ name: `part-${parts.length}`, block: unseen(file, name, text) })
  }
  add('before', before)
  let heading: string | null = null
  for (const block of blocks) {
    if (block.heading !== heading) {
      if (heading !== null) add(`after "${heading}"`, scenes[heading]?.after)
      ;({ heading } = block)
      add(`before "${heading}"`, scenes[heading]?.before)
    }
    parts.push({ name: `part-${parts.length}`, block })
  }
  if (heading !== null) add(`after "${heading}"`, scenes[heading]?.after)
  add('after', after ?? ':')
  for (const name of Object.keys(scenes)) {
    if (blocks.every((block) => block.heading !== name)) throw new Error(`${file}: no block stands under "${name}"`)
  }
  return parts
}

/** One shell runs all parts, as a reader would, so that folders and variables hold. */
const scriptOf = (parts: Part[], output: string): string =>
  parts
    .flatMap(({ name, block: { mode, text, line } }) => {
      const out = `${output}/${name}.out`
      const to = `> ${out} 2> ${output}/${name}.err < /dev/null`
      const done = `echo 0 > ${output}/${name}.code`
      // What the reader would copy out of the last output, the unseen parts find there.
      const printed = line > 0 ? [`printed=${out}`] : []
      if (mode === 'fails') return [`if (\n${text}\n) ${to}; then false; fi`, done, ...printed]
      if (mode !== 'background') return [`{\n${text}\n} ${to}`, done, ...printed]
      // What runs in the background says something once it is ready.
      const ready = `for try in $(seq 600); do [ -s ${out} ] && break; kill -0 $!; sleep 0.05; done; [ -s ${out} ]`
      return [`{\n${text}\n} ${to} &`, ready, ...printed]
    })
    .join('\n')

/**
 * Runs every block of a document, word by word, with `portcullis` (the executable) in the path. Throws, naming the
 * line, when one fails. Returns what each printed; the last is what `after` printed.
 */
export const runGuide = async (file: string, options: GuideOptions = {}): Promise<Ran[]> => {
  const blocks = blocksOf(file).filter(({ mode }) => mode !== 'elsewhere')
  const parts = partsOf(file, blocks, options)
  const folder = tempFolder()
  // A shell that becomes somebody else must still be able to write here.
  chmodSync(folder, 0o755)
  const [home, output, bin] = ['home', 'output', 'bin'].map((name) => join(folder, name)) as [string, string, string]
  for (const path of [home, output, bin]) mkdirSync(path)
  symlinkSync(builtBinary(), join(bin, 'portcullis'))
  const script = join(folder, 'guide.sh')
  const network = options.runner ? '' : 'ip link set lo up\n'
  writeFileSync(script, `set -e\n${network}${scriptOf(parts, output)}\n`)
  const child = Bun.spawn([...(options.runner ?? isolated()), 'bash', script], {
    cwd: options.cwd ?? home,
    env: { PATH: `${bin}:${process.env['PATH'] ?? ''}`, HOME: home, ...options.env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const late = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 55_000)
  const [stderr, exitCode] = await Promise.all([new Response(child.stderr).text(), child.exited])
  clearTimeout(late)
  const read = (name: string) => (existsSync(join(output, name)) ? readFileSync(join(output, name), 'utf8') : '')
  const ran = parts.map(({ name, block }): Ran => {
    const code = read(`${name}.code`)
    return { block, stdout: read(`${name}.out`), stderr: read(`${name}.err`), code: code === '' ? null : Number(code) }
  })
  if (exitCode !== 0) {
    const failed = ran.find(({ code, block }) => code === null && block.mode !== 'background')
    const where = failed ? `${file}:${failed.block.line} (${failed.block.heading})` : file
    const said = failed ? `${failed.block.text}\n${failed.stdout}\n${failed.stderr}` : ''
    throw new Error(`${where} ended with ${exitCode}: ${said}\n${stderr}`)
  }
  return ran.filter(({ block }, index) => block.line > 0 || index === ran.length - 1)
}

/** What differs each time, by what it is. Columns move with what stands in them. */
const VARYING: [RegExp, string][] = [
  [/\d{4}-\d\d-\d\d(?:T[\d:.]+Z)?/g, 'TIME'],
  [/\b(?:[a-z]{2,4}_[0-9a-f]{32}|k[0-9a-f]{10})\b/g, 'ID'],
  [/\bpc([la])_[0-9A-Za-z]{36}\b/g, 'pc$1_SECRET'],
  [/\b[0-9a-f]{64}\b/g, 'HASH'],
  [/\d+(?:\.\d+)? (?:ms|B|[KMG]iB)\b/g, 'MEASURED'],
  [/\b\d+[smhd] ago\b/g, 'AGO'],
  [/code=[\w-]+/g, 'code=CODE'],
  [/\s*\n/g, '\n'],
  [/[ \t]+/g, ' '],
]

const evened = (text: string): string =>
  VARYING.reduce((rest, [found, name]) => rest.replace(found, name), `${text.trim()}\n`).trim()

/** Whether a page shows what was printed: times, ids and figures are each their own; `…` stands for anything. */
export const shows = (shown: string, printed: string): boolean => {
  const parts = evened(shown).split('…').map(RegExp.escape)
  return new RegExp(`^${parts.join(String.raw`[\s\S]*?`)}$`).test(evened(printed))
}

/** Throws where a block's output is not what the page shows below it. */
export const expectShown = (ran: Ran[]): void => {
  const wrong = ran.flatMap(({ block: { shown, file, line }, stdout, stderr }) => {
    if (shown === null || [stdout, stderr, `${stdout}\n${stderr}`].some((printed) => shows(shown, printed))) return []
    return [`${file}:${line} shows:\n${shown}\n\nand printed:\n${stdout}\n${stderr}`]
  })
  if (wrong.length > 0) throw new Error(wrong.join('\n'))
}
