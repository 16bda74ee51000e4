import { generateSecret } from '../../src/secret.ts'
import { startCaddy } from './caddy.ts'
import { startHaproxyProxy } from './haproxy.ts'
import { startNginx } from './nginx.ts'
import type { ReverseProxy, StartProxy } from './reverse-proxy.ts'
import type { Stops } from './stops.ts'
import { executableOf, type Peer } from './versions.ts'

const START = { nginx: startNginx, caddy: startCaddy, haproxy: startHaproxyProxy } satisfies Partial<
  Record<Peer, StartProxy>
>

/** The programs of Debian that were asked for and are installed, stopped with the rest; the others by name. */
export const startPeers = async (stops: Stops, names: (keyof typeof START)[], originPort: number) => {
  const missing = names.filter((name) => executableOf(name) === null)
  const peers: ReverseProxy[] = []
  for (const name of names) {
    if (!missing.includes(name)) peers.push(stops.add(await START[name](originPort, generateSecret('pcl_'))))
  }
  return { peers, missing }
}
