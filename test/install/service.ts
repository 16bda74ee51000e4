import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import type { Machine } from '../support/debian.ts'

export const UNIT = '/etc/systemd/system/portcullis.service'
export const DATA = '/var/lib/portcullis'

/** What tests do with a Portcullis that is a service of a machine. */
export const serviceOf = (machine: Machine) => {
  const portcullis = (...words: string[]) => machine.read('portcullis', ...words)
  return {
    portcullis,
    install: (args: string[] = [], input = '') =>
      machine.run(['dash', '/opt/portcullis/install.sh', ...args], { input }),
    /** The version that answers; throws while none does. */
    running: async () => (JSON.parse(await portcullis('healthcheck', '--json')) as NodeJson).version,
    mainPid: () => machine.read('systemctl', 'show', '-p', 'MainPID', '--value', 'portcullis'),
    exists: (file: string) => existsSync(join(machine.root, file)),
    /** A token for the console behind its own gate: no other server is needed. */
    createToken: async (): Promise<string> => {
      await portcullis('server', 'add', 'console', 'http://127.0.0.1:7071')
      const issued = await portcullis('token', 'create', 'Cursor IDE', '--server', 'console', '--json')
      return String((JSON.parse(issued) as TokenIssuedJson).token)
    },
    /** The status that the gate answers with; 000: nothing answers. */
    gateSays: async (token: string): Promise<string> => {
      const url = 'http://127.0.0.1:7070/s/console/healthz'
      const asked = ['curl', '-s', '-m', '5', '-o', '/dev/null', '-w', '%{http_code}', url]
      return (await machine.run([...asked, '-H', `Authorization: Bearer ${token}`])).stdout
    },
  }
}
