import { join } from 'node:path'
import { builtBinary } from '../support/binary.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import type { Bench } from './bench.ts'
import { figuresOf, ratioOf } from './figures.ts'
import { serveCommand, startToFirstAnswer } from './first-answer.ts'
import { freePort } from '../support/port.ts'
import { ms, table } from './table.ts'

const SIZES = { full: { rounds: 31 }, short: { rounds: 2 } }

/** The least that any compiled server takes on this runtime. */
const FLOOR = `Bun.serve({ hostname: '127.0.0.1', port: Number(process.argv[2]), fetch: () => new Response('ok') })\n`

const builtFloor = async (folder: string): Promise<string> => {
  const [source, binary] = [join(folder, 'floor.ts'), join(folder, 'floor')]
  await Bun.write(source, FLOOR)
  const build = Bun.spawnSync([process.execPath, 'build', '--compile', source, '--outfile', binary])
  if (build.exitCode !== 0) throw new Error(`the floor was not built: ${build.stderr.toString()}`)
  return binary
}

/** From starting the executable on an empty folder to its first answer, in turn with the least there is. */
export const run: Bench = async (size) => {
  const { rounds } = SIZES[size]
  const binary = builtBinary()
  const folder = tempFolder()
  const floor = await builtFloor(folder)
  const samples: Record<'gate' | 'floor', number[]> = { gate: [], floor: [] }
  const once = async (name: keyof typeof samples): Promise<number> => {
    const [data, port] = [tempFolder(), freePort()]
    const command = name === 'gate' ? serveCommand(binary, data, port) : [floor, `${port}`]
    const started = await startToFirstAnswer(command, port)
    await started.stop()
    removeFolder(data)
    return started.ms
  }
  // The first of each reads a hundred megabytes from the disk.
  for (const name of ['gate', 'floor'] as const) await once(name)
  for (let round = 0; round < rounds; round += 1) {
    for (const name of ['gate', 'floor'] as const) samples[name].push(await once(name))
  }
  removeFolder(folder)
  const rows = [
    { name: 'gate', ...figuresOf(samples.gate) },
    { name: 'a compiled Bun.serve', ...figuresOf(samples.floor) },
  ]
  return {
    text: `Milliseconds from starting the executable on an empty folder to its first answer, on all cores (${rounds} rounds)

${table(
  ['', 'median', 'p99', 'min', 'max'],
  rows.map(({ name, median, p99, min, max }) => [name, ...[median, p99, min, max].map(ms)]),
)}`,
    checks: [
      {
        what: 'start on an empty folder to the first answer',
        value: rows[0]?.median ?? Number.NaN,
        unit: 'ms',
        target: 80,
        side: 'at most',
        stretch: 50,
      },
    ],
    data: { rounds, rows, ratio: ratioOf('floor', samples.gate, samples.floor), samples },
    failures: [],
    missing: [],
  }
}
