import { readlinkSync } from 'node:fs'
import { expect, test } from 'bun:test'
import { eventually } from './poll.ts'

const VARIABLE = 'PORTCULLIS_TEST_MACHINES'
const ISOLATED = 'setpriv --pdeathsig KILL unshare --net --mount --pid --fork --mount-proc --kill-child'.split(' ')
/** Where the test itself is, for clients and upstreams. */
export const HERE = '10.98.0.254'

const run = (...command: string[]): void => {
  const { exitCode, stderr } = Bun.spawnSync(command, { stdout: 'ignore', stderr: 'pipe' })
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr.toString()}`)
}

/** A network namespace with two cables: one to the clients, one to the other machines. */
export interface Machine {
  /** Where other machines reach it. */
  address: string
  /** Where clients do. */
  clients: string
  /** Put before a command, which then runs there. */
  within: string[]
  /** The cable to the others: pulled, nobody is told anything. */
  plug(plugged: boolean): void
  /** What is lost on that cable, of all packets, one way: `in` are those that come. */
  lose(way: 'in' | 'out', share: number): void
  heal(): void
}

const CABLE = 'eth1'

const startMachine = async (number: number): Promise<Machine> => {
  const holder = Bun.spawn(['setpriv', '--pdeathsig', 'KILL', 'unshare', '--net', 'sleep', 'infinity'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const place = `/proc/${holder.pid}/ns/net`
  await eventually(() => readlinkSync(place) !== readlinkSync('/proc/self/ns/net'))
  const within = ['nsenter', `--net=${place}`]
  const addresses = { clients: `10.98.0.${number}`, address: `10.99.0.${number}` }
  for (const [plug, at, bridge, address] of [
    ['eth0', `p${number}`, 'clients', addresses.clients],
    [CABLE, `q${number}`, 'nodes', addresses.address],
  ] as const) {
    run('ip', 'link', 'add', at, 'type', 'veth', 'peer', 'name', plug, 'netns', `${holder.pid}`)
    run('ip', 'link', 'set', at, 'master', bridge, 'up')
    run(...within, 'ip', 'address', 'add', `${address}/24`, 'dev', plug)
    run(...within, 'ip', 'link', 'set', plug, 'up')
  }
  run(...within, 'ip', 'link', 'set', 'lo', 'up')
  return {
    ...addresses,
    within,
    plug: (plugged) => run(...within, 'ip', 'link', 'set', CABLE, plugged ? 'up' : 'down'),
    lose(way, share) {
      const [chain, flag] = way === 'in' ? ['INPUT', '-i'] : ['OUTPUT', '-o']
      const some = share < 1 ? ['-m', 'statistic', '--mode', 'random', '--probability', `${share}`] : []
      run(...within, 'iptables', '-A', chain, flag, CABLE, ...some, '-j', 'DROP')
    },
    heal: () => run(...within, 'iptables', '-F'),
  }
}

/** So many machines at one switch, and this process at another that they share with their clients. */
export const startMachines = async (count: number): Promise<Machine[]> => {
  run('ip', 'link', 'set', 'lo', 'up')
  for (const bridge of ['clients', 'nodes']) {
    run('ip', 'link', 'add', bridge, 'type', 'bridge')
    run('ip', 'link', 'set', bridge, 'up')
  }
  run('ip', 'address', 'add', `${HERE}/24`, 'dev', 'clients')
  const machines: Machine[] = []
  for (let number = 1; number <= count; number += 1) machines.push(await startMachine(number))
  return machines
}

const mayRun = (): boolean => {
  const lacking = ['ip', 'iptables', 'setpriv', 'unshare', 'nsenter'].filter((command) => !Bun.which(command))
  if (process.getuid?.() !== 0) lacking.push('root')
  if (lacking.length === 0) {
    const tried = Bun.spawnSync([...ISOLATED, 'ip', 'link', 'add', 'tried', 'type', 'bridge'], { stderr: 'pipe' })
    if (tried.exitCode === 0) return true
    lacking.push(`network namespaces (${tried.stderr.toString().trim()})`)
  }
  if (process.env['CI']) throw new Error(`this test needs ${lacking.join(', ')} in CI`)
  console.warn(`SKIPPED LOUDLY: the tests on machines of their own need ${lacking.join(', ')}`)
  return false
}

/** Whether this process may make machines. Where it may not, a test is declared that runs the same file where it may. */
export const onMachines = (file: string, timeoutMs: number): boolean => {
  if (process.env[VARIABLE]) return true
  if (!mayRun()) return false
  test(
    'on machines of their own',
    async () => {
      // Whoever kills the runner ends what runs in there too.
      const child = Bun.spawn([...ISOLATED, process.execPath, 'test', '--timeout', '60000', file], {
        env: { ...process.env, [VARIABLE]: '1' },
        stdio: ['ignore', 'inherit', 'inherit'],
      })
      expect(await child.exited).toBe(0)
    },
    timeoutMs,
  )
  return false
}
