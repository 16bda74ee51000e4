/**
 * Programs that are no MCP servers, each bad in its own way: `bun raw.ts MODE [ARG…]`. A message is one JSON-RPC
 * notification a line.
 *
 *   echo                 says back each line
 *   facts                says pid, working folder, uid, gid, groups, arguments and environment; then as echo
 *   stubborn             ignores SIGTERM, SIGINT, SIGHUP and the end of its input
 *   family               starts a child and a grandchild that ignore all of that too, says their pids, and is stubborn
 *   orphan               the same family, but exits itself at once on SIGTERM or the end of its input
 *   runaway MS           the same family, and exits with code 3 after so long
 *   line BYTES           says one message of so many bytes (the newline not counted), then as echo
 *   endless              one line that never ends
 *   flood BYTES          messages of so many bytes without end, counted: {"method":"n","params":{"n":1,"filler":…}}
 *   deaf                 says that it runs, and never reads its input
 *   memory MEBIBYTES     takes so much memory and says so, or dies
 *   cpu                  uses a core until it dies
 *   exit MS CODE         exits with that code after so long
 *   signal MS NAME       kills itself with that signal after so long
 *   quit                 closes its output and lives on
 *   banner               lines that are no JSON, and JSON that is no JSON-RPC, between two messages; then as echo
 *   stderr LINES TEXT    so many lines "N TEXT" on its standard error, says that they are said; then as echo
 *   net                  says which network interfaces there are, and whether it can speak to itself over loopback
 *   touch PATH…          says for each path whether it is readable, and writable, or what went wrong; then as echo
 */
import { accessSync, closeSync, constants, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs'
import { networkInterfaces } from 'node:os'

const [mode = '', ...args] = process.argv.slice(2)

const write = (text: string): void => {
  // Whole and in order, also where nobody reads for a while: the pipe is blocking.
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
      Bun.sleepSync(1)
    }
  }
}

const say = (method: string, params: Record<string, unknown> = {}): void =>
  write(`${JSON.stringify({ jsonrpc: '2.0', method, params })}\n`)

const echo = async (): Promise<void> => {
  for await (const line of console) write(`${line}\n`)
}

const stubborn = (): void => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
  setInterval(() => {}, 60_000)
}

const family = async (): Promise<void> => {
  const script = `trap '' TERM INT HUP
/bin/sh -c 'trap "" TERM INT HUP; while :; do sleep 1; done' & echo $!
while :; do sleep 1; done`
  const child = Bun.spawn(['/bin/sh', '-c', script], { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' })
  const { value } = await child.stdout.getReader().read()
  say('family', { pids: [process.pid, child.pid, Number(new TextDecoder().decode(value))] })
}

const attempt = (what: () => unknown): string => {
  try {
    what()
    return 'yes'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

const writable = (path: string): string => {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return attempt(() => accessSync(path, constants.W_OK))
  const file = `${path}/.touched-${process.pid}`
  return attempt(() => {
    openSync(file, 'wx')
    rmSync(file)
  })
}

const modes: Record<string, () => unknown> = {
  echo,
  facts: () => {
    say('facts', {
      pid: process.pid,
      cwd: process.cwd(),
      uid: process.getuid?.(),
      gid: process.getgid?.(),
      groups: process.getgroups?.(),
      args,
      env: process.env,
    })
    return echo()
  },
  stubborn: () => {
    stubborn()
    say('ready')
  },
  family: async () => {
    stubborn()
    await family()
  },
  orphan: async () => {
    process.on('SIGTERM', () => process.exit(0))
    await family()
    await echo()
    process.exit(0)
  },
  runaway: async () => {
    await family()
    setTimeout(() => process.exit(3), Number(args[0]))
  },
  line: () => {
    const bare = JSON.stringify({ jsonrpc: '2.0', method: 'line', params: { filler: '' } }).length
    say('line', { filler: 'x'.repeat(Number(args[0]) - bare) })
    return echo()
  },
  endless: () => {
    for (;;) write('x'.repeat(65_536))
  },
  flood: () => {
    const filler = 'x'.repeat(Number(args[0]))
    for (let n = 1; ; n += 1) say('n', { n, filler })
  },
  deaf: () => {
    say('ready')
    setInterval(() => {}, 60_000)
  },
  memory: () => {
    const taken: Uint8Array[] = []
    for (let mebibyte = 0; mebibyte < Number(args[0]); mebibyte += 16)
      taken.push(new Uint8Array(16 * 1024 * 1024).fill(1))
    say('memory', { mebibytes: taken.length * 16 })
    return echo()
  },
  cpu: () => {
    say('ready')
    for (;;) Math.sqrt(Math.random())
  },
  exit: () => setTimeout(() => process.exit(Number(args[1])), Number(args[0])),
  signal: () => {
    setTimeout(() => process.kill(process.pid, args[1] as NodeJS.Signals), Number(args[0]))
  },
  quit: () => {
    say('ready')
    closeSync(1)
    setInterval(() => {}, 60_000)
  },
  banner: () => {
    write('Welcome!\n\n')
    say('first')
    write('{"not":"json-rpc"}\r\nnull\n')
    say('second')
    return echo()
  },
  stderr: () => {
    for (let line = 1; line <= Number(args[0]); line += 1) writeSync(2, `${line} ${args[1]}\n`)
    say('said')
    return echo()
  },
  net: async () => {
    const interfaces = Object.keys(networkInterfaces())
    let loopback = 'yes'
    try {
      const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('hi') })
      await (await fetch(`http://127.0.0.1:${server.port}`)).text()
      await server.stop(true)
    } catch (error) {
      loopback = String(error)
    }
    say('net', { interfaces, loopback, devices: readdirSync('/sys/class/net') })
    return echo()
  },
  touch: () => {
    const paths = args.map((path) => [path, { read: attempt(() => openSync(path, 'r')), write: writable(path) }])
    say('touch', Object.fromEntries(paths))
    return echo()
  },
}

const run = modes[mode]
if (!run) throw new Error(`no mode ${mode}`)
await run()
