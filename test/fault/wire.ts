import { Random } from '../support/random.ts'
import type { FaultPart } from './fault.ts'
import { anyBodies, anyEvents, cutAtEveryByte } from './wire-bytes.ts'
import { comeAndGo, slowBodies, slowHeads, slowReaders, stoppedReaders } from './wire-clients.ts'
import { WireGround } from './wire-ground.ts'
import { pastLimits } from './wire-limits.ts'
import { silentPaths } from './wire-paths.ts'
import { endlessHeaders, garbageAnswers, killedMidEvent, silentUpstreams, stoppedUploads } from './wire-upstreams.ts'

/**
 * Ill-treats the real binary over real sockets. After each scene nothing of it may be left: no connection in the registry,
 * no open file, and a fresh token's stream still dies with its revocation.
 */
const SCENES: Record<string, (ground: WireGround) => Promise<void>> = {
  slowReaders,
  stoppedReaders,
  slowHeads,
  slowBodies,
  comeAndGo,
  killedMidEvent,
  silentUpstreams,
  stoppedUploads,
  garbageAnswers,
  endlessHeaders,
  pastLimits,
  cutAtEveryByte,
  anyEvents,
  anyBodies,
}

/**
 * What the node may hold at rest after the second round above what it held after the first: what it takes moves by so much
 * from round to round, up and down, as the collector and the allocator please. Megabytes that were kept of each large body
 * and header would show, and so would 10,000 connections, which take 200 MB.
 */
const GROWTH_BYTES_MAX = 96 * 1024 * 1024

const runRound = async (ground: WireGround, names: readonly string[]): Promise<void> => {
  for (const name of names) {
    const before = performance.now()
    try {
      await SCENES[name]?.(ground)
    } catch (error) {
      ground.wrong(`${name}: ${error instanceof Error ? error.message.slice(0, 1_500) : String(error)}`)
    }
    await ground.settled(name)
    const memory = (ground.residentBytes / 1e6).toFixed(0)
    if (ground.size === 'long')
      console.error(
        `wire: ${name}, ${((performance.now() - before) / 1000).toFixed(1)} s, ${memory} MB, ${ground.files} files`,
      )
  }
}

export const run: FaultPart = async (size, seed) => {
  const ground = await WireGround.start(size, new Random(seed))
  const scenes = Object.keys(SCENES)
  // On a node of its own, since nearly all of its time is waiting.
  const silent = silentPaths(ground).catch((error: unknown) => ground.wrong(`silentPaths: ${String(error)}`))
  try {
    await runRound(ground, scenes)
    const first = await ground.restingBytes()
    ground.count('MB at rest after the scenes', Math.round(first / 1e6))
    // The same once more: what grows with each round would grow again.
    await runRound(
      ground,
      scenes.filter((name) => name !== 'slowHeads'),
    )
    const last = await ground.restingBytes()
    ground.count('MB at rest after the second round', Math.round(last / 1e6))
    if (last - first > GROWTH_BYTES_MAX) ground.wrong(`the second round left ${last - first} bytes`)
  } finally {
    await silent
    await ground.stop()
  }
  return { counts: ground.counts, failures: ground.failures }
}
