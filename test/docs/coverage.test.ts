import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { SETTINGS, variable } from '../../src/config.ts'
import { MODES } from '../support/guide.ts'
import { type Page, readPage } from '../support/markdown.ts'
import { commandLine } from './reference/pages.ts'

const ROOT = join(import.meta.dir, '../..')

const under = (folder: string, ending: RegExp): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => ending.test(file))
    .map((file) => join(folder, file))
    .toSorted()

const GUIDES = ['README.md', ...under('docs', /\.md$/)]
const ALL = [...GUIDES, 'SECURITY.md', 'ARCHITECTURE.md', 'CHANGELOG.md']
const pages = new Map(ALL.map((file) => [file, readPage(file)]))
const pageOf = (file: string): Page => pages.get(file) as Page

/** Every place of a pattern in the prose of a page, as `file:line` and what was found. */
const found = (file: string, pattern: RegExp): [where: string, match: string[]][] =>
  pageOf(file).prose.flatMap(({ line, text }) =>
    [...text.matchAll(pattern)].map((match): [string, string[]] => [`${file}:${line}`, [...match]]),
  )

const spansIn = (file: string): [where: string, text: string][] =>
  found(file, /`([^`]+)`/g).map(([where, [, text = '']]) => [where, text])

describe('blocks of shell', () => {
  const tests = under('test', /\.test\.ts$/)
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .filter((text) => text.includes('runGuide('))

  test.each(GUIDES)('of %s are run by a test', (file) => {
    const blocks = pageOf(file).fences.filter(({ language }) => language === 'sh')
    if (blocks.length === 0) return
    expect(
      tests.some((text) => text.includes(`'${file}'`)),
      `no test runs ${file} by runGuide`,
    ).toBe(true)
    for (const { line, mode } of blocks)
      expect([file, line, MODES]).toEqual([file, line, expect.arrayContaining([mode])])
  })

  /** What no test machine can do: a block that is not run must hold some of it. */
  const ELSEWHERE = [
    /^(?:sudo )?(?:docker|podman|brew|ssh|scp|rsync|git clone|systemctl|systemd-analyze|journalctl|certbot|launchctl|xattr)\s/m,
    // What is pasted on a terminal; test/cli/pasted.test.ts does it on one.
    /^portcullis revoke - --reason compromised$/m,
    // Of the version before, whose executable is not here.
    /^portcullis backup before-the-upgrade\./m,
    // By TLS, where the page's proxy has the port already; test/process/tls.test.ts does it.
    /^portcullis serve --listen :443 .*--tls-cert /m,
    // By somebody without root; test/install does it.
    /^sh install\.sh$/m,
  ]

  test('that are said to run elsewhere could not run here', () => {
    const blocks = GUIDES.flatMap((file) => pageOf(file).fences).filter(
      ({ language, mode }) => language === 'sh' && mode === 'elsewhere',
    )
    expect(blocks.length).toBeGreaterThan(1)
    const could = blocks.filter(({ text }) => ELSEWHERE.every((pattern) => !pattern.test(text)))
    expect(could.map(({ file, line, text }) => `${file}:${line} ${text}`)).toEqual([])
  })

  test('have no language that is shell by another name', () => {
    const others = ALL.flatMap((file) => pageOf(file).fences).filter(({ language }) =>
      /^(?:bash|shell|console|zsh)$/.test(language),
    )
    expect(others.map(({ file, line }) => `${file}:${line}`)).toEqual([])
  })
})

describe('links', () => {
  /** As GitHub makes them: lower case, without punctuation, dashes for spaces, a number for the second of a name. */
  const anchorsOf = (file: string): Set<string> => {
    const anchors = new Set<string>()
    for (const heading of pageOf(file).headings) {
      const anchor = heading
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replace(/[^\p{L}\p{N}_\- ]/gu, '')
        .replaceAll(' ', '-')
      let name = anchor
      for (let again = 1; anchors.has(name); again += 1) name = `${anchor}-${again}`
      anchors.add(name)
    }
    return anchors
  }

  test.each(ALL)('of %s lead somewhere', (file) => {
    const broken = found(file, /\]\(([^)\s]+)\)/g).filter(([, [, target = '']]) => {
      if (/^https?:/.test(target)) return false
      const [path = '', anchor] = target.split('#')
      const to = path === '' ? file : normalize(join(dirname(file), path))
      if (!existsSync(join(ROOT, to))) return true
      return anchor !== undefined && !(pages.has(to) && anchorsOf(to).has(anchor))
    })
    expect(broken.map(([where, [link]]) => `${where} ${link}`)).toEqual([])
  })

  test('the index names every page', () => {
    const named = found('docs/README.md', /\]\(([^)#\s]+)/g).map(([, [, target = '']]) =>
      normalize(join('docs', target)),
    )
    const missing = GUIDES.filter((file) => !file.endsWith('README.md') && !named.includes(file))
    expect(missing).toEqual([])
  })
})

describe('what stands in the text is true', () => {
  test('nothing is left to do', () => {
    expect(ALL.flatMap((file) => found(file, /\b(?:TODO|FIXME|XXX|lorem|TBD)\b/gi))).toEqual([])
  })

  test('files of the project are there', () => {
    const named = ALL.flatMap(spansIn).filter(([where, text]) => {
      // What came when may name what has gone since.
      if (where.startsWith('CHANGELOG')) return false
      return /^(?:src|test|docs|drizzle)\/[\w./-]+\.\w+$|^(?:[A-Z]+\.md|Dockerfile|compose\.yaml|\.?\/?install\.sh)$/.test(
        text,
      )
    })
    expect(named.length).toBeGreaterThan(3)
    expect(named.filter(([, text]) => !existsSync(join(ROOT, text)))).toEqual([])
  })

  test('scripts of npm are there', () => {
    const scripts = ALL.flatMap(spansIn).flatMap(([where, text]) => {
      const [, name] = /^npm run (?:-s )?([\w-]+)/.exec(text) ?? []
      return name ? [[where, name] as const] : []
    })
    expect(scripts.length).toBeGreaterThan(3)
    expect(scripts.filter(([, name]) => !Object.hasOwn(packageJson.scripts, name))).toEqual([])
  })

  test('variables of the environment are there', () => {
    const known = new Set<string>((Object.keys(SETTINGS) as (keyof typeof SETTINGS)[]).map(variable))
    for (const other of ['PORTCULLIS_API_KEY', 'PORTCULLIS_TOKEN']) known.add(other)
    // These take some of their own.
    const others = ['install.sh', 'compose.yaml'].map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n')
    const named = GUIDES.flatMap((file) => {
      const text = readFileSync(join(ROOT, file), 'utf8')
      return [...text.matchAll(/PORTCULLIS_[A-Z_]+/g)].map(([name]) => [file, name] as const)
    })
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter(([, name]) => !known.has(name) && !others.includes(name))).toEqual([])
  })
})

describe('commands in the text are the program’s', () => {
  /** Words of a command line, quotes taken away; what a shell would do with the rest is cut off. */
  const wordsOf = (text: string): string[] => {
    const [command = ''] = text.replaceAll(/\$\([^()]*\)/g, 'OUTPUT').split(/ +(?:[|><#]|&&|;)|;$/)
    return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
      (match) => match.slice(1).find((word) => word !== undefined) ?? '',
    )
  }

  /** What the program would say is wrong with it; null: nothing. */
  const wrongWith = (words: string[]): string | null => {
    let command = commandLine()
    let rest = words
    try {
      for (;;) {
        const { operands, unknown } = command.configureOutput({ writeErr: () => undefined }).parseOptions(rest)
        const child = command.commands.find((one) => one.name() === operands[0])
        if (!child) {
          const flag = unknown.find((word) => word.startsWith('-') && word !== '-' && word !== '--help')
          if (flag) return `no option ${flag}`
          if (command.commands.length > 0 && operands[0] !== undefined && !/^[A-Z…]+$/.test(operands[0])) {
            return `no command ${operands[0]}`
          }
          const most = command.registeredArguments.some(({ variadic }) => variadic)
            ? 100
            : command.registeredArguments.length
          return operands.length > most && !operands.includes('…') && command.commands.length === 0
            ? `too many arguments: ${operands.join(' ')}`
            : null
        }
        rest = [...operands.slice(1), ...unknown]
        command = child
      }
    } catch (error) {
      return String(error)
    }
  }

  const linesOf = (file: string): [where: string, text: string][] =>
    pageOf(file).fences.flatMap(({ line, language, text }) =>
      language === 'sh'
        ? text
            .replaceAll(/\\\n\s*/g, '')
            .split('\n')
            .map((command): [string, string] => [`${file}:${line}`, command.trim()])
        : [],
    )

  const commandsIn = (file: string): [where: string, words: string[]][] =>
    [...spansIn(file), ...linesOf(file)].flatMap(([where, text]) => {
      const [, typed] =
        /^(?:sudo |docker (?:compose )?exec (?:-T )?portcullis )?(?:dist\/)?portcullis( .*)$/.exec(text) ?? []
      return typed ? [[where, wordsOf(typed)] as [string, string[]]] : []
    })

  test.each([...GUIDES, 'SECURITY.md'])('in %s', (file) => {
    const wrong = commandsIn(file).flatMap(([where, words]) => {
      const why = wrongWith(words)
      return why ? [`${where} portcullis ${words.join(' ')}: ${why}`] : []
    })
    expect(wrong).toEqual([])
  })

  test('of which there are many, and a wrong one is found', () => {
    expect(GUIDES.flatMap(commandsIn).length).toBeGreaterThan(100)
    for (const wrong of [
      'revoke X --for-ever',
      'tokens',
      'token make X',
      'server ls now',
      'revoke X --reason because',
    ]) {
      expect([wrong, wrongWith(wordsOf(wrong))]).not.toEqual([wrong, null])
    }
    for (const right of [
      'revoke X Y --reason other',
      'serve --listen :7070',
      'token ls --json',
      'COMMAND --help',
      'server kill NAME',
    ]) {
      expect([right, wrongWith(wordsOf(right))]).toEqual([right, null])
    }
  })
})
