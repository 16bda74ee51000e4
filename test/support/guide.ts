import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { builtBinary } from './binary.ts'
import { tempFolder } from './temp.ts'

const ROOT = join(import.meta.dir, '../..')

/** A fenced block of shell in a document. */
export interface Block {
  file: string
  line: number
  /** The nearest heading above it. */
  heading: string
  /** What stands after `sh`: nothing, `background` (goes on while the rest runs) or `elsewhere` (can't be run here). */
  mode: string
  text: string
}

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
  env?: Record<string, string>
  /** The folder that it is run in; without it an empty one, which is the home too. */
  cwd?: string
  /** What the shell is run by, in place of a network of its own; it gets `bash FILE` added. */
  runner?: string[]
  timeoutMs?: number
}

/** All blocks of shell in a document, in order. `file` is relative to the project. */
export const blocksOf = (file: string): Block[] => {
  const blocks: Block[] = []
  let heading = ''
  let open: { fence: string; block: Block | null; lines: string[] } | null = null
  const lines = readFileSync(join(ROOT, file), 'utf8').split('\n')
  for (const [index, line] of lines.entries()) {
    if (open) {
      if (line.trim() !== open.fence) open.lines.push(line)
      else {
        if (open.block) blocks.push({ ...open.block, text: open.lines.join('\n') })
        open = null
      }
      continue
    }
    heading = /^#+ (.*)$/.exec(line)?.[1] ?? heading
    const [, fence, language, mode = ''] = /^ *(```+)(\S*) ?(.*)$/.exec(line) ?? []
    if (fence === undefined) continue
    const block = { file, line: index + 1, heading, mode: mode.trim(), text: '' }
    open = { fence, block: language === 'sh' ? block : null, lines: [] }
  }
  return blocks
}

/** A network of its own, so that a document may name the default ports, and processes that end with it. */
const ISOLATED = ['unshare', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']

const isolated = (): string[] => (process.getuid?.() === 0 ? ISOLATED : [...ISOLATED, '--map-root-user'])

/** One shell runs all blocks, as a reader would, so that folders and variables hold; each must end with 0. */
const scriptOf = (blocks: Block[], output: string, { before = ':', after = ':' }: GuideOptions): string => {
  const part = (name: string, text: string) => [
    `{\n${text}\n} > ${output}/${name}.out 2> ${output}/${name}.err < /dev/null`,
    `echo 0 > ${output}/${name}.code`,
  ]
  const background = (name: string, text: string) => [
    `{\n${text}\n} > ${output}/${name}.out 2> ${output}/${name}.err < /dev/null &`,
    // What runs in the background says something once it is ready.
    `for try in $(seq 600); do [ -s ${output}/${name}.out ] && break; sleep 0.05; done; [ -s ${output}/${name}.out ]`,
  ]
  return [
    'set -e',
    ...part('before', before),
    ...blocks.flatMap((block, index) =>
      block.mode === 'background' ? background(String(index), block.text) : part(String(index), block.text),
    ),
    ...part('after', after),
  ].join('\n')
}

/**
 * Runs every block of a document, word by word, with `portcullis` (the executable) in the path. Throws, naming the
 * line, when one fails. Returns what each printed; the last is what `after` printed.
 */
export const runGuide = async (file: string, options: GuideOptions = {}): Promise<Ran[]> => {
  const blocks = blocksOf(file).filter(({ mode }) => mode !== 'elsewhere')
  const folder = tempFolder()
  // A shell that becomes somebody else must still be able to write here.
  chmodSync(folder, 0o755)
  const [home, output, bin] = ['home', 'output', 'bin'].map((name) => join(folder, name)) as [string, string, string]
  for (const path of [home, output, bin]) mkdirSync(path)
  symlinkSync(builtBinary(), join(bin, 'portcullis'))
  const script = join(folder, 'guide.sh')
  const network = options.runner ? '' : 'ip link set lo up\n'
  writeFileSync(script, network + scriptOf(blocks, output, options))
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
  const ranOf = (block: Block, name: string): Ran => ({
    block,
    stdout: read(`${name}.out`),
    stderr: read(`${name}.err`),
    code: read(`${name}.code`) === '' ? null : Number(read(`${name}.code`)),
  })
  const unseen = (name: string): [Block, string] => [{ file, line: 0, heading: name, mode: '', text: '' }, name]
  const ran = [...blocks.map((block, index): [Block, string] => [block, String(index)]), unseen('after')].map(
    ([block, name]) => ranOf(block, name),
  )
  if (exitCode !== 0) {
    const failed = [ranOf(...unseen('before')), ...ran].find(
      ({ code, block }) => code === null && block.mode !== 'background',
    )
    const where = failed ? `${file}:${failed.block.line} (${failed.block.heading})` : file
    throw new Error(
      `${where} ended with ${exitCode}: ${failed?.block.text}\n${failed?.stdout}\n${failed?.stderr}\n${stderr}`,
    )
  }
  return ran
}
