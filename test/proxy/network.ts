import { chmodSync } from 'node:fs'
import { expect, test } from 'bun:test'
import { tempFolder } from '../support/temp.ts'

const VARIABLE = 'PORTCULLIS_TEST_NETWORK'

/** Addresses of the outside, so that a client is somebody else than the proxy. */
export const PROXY_ADDRESS = '192.0.2.1'
export const OTHER_CLIENT = '192.0.2.77'
/** The names that the documents use, each with a certificate where certbot puts it. */
export const NAMES = ['mcp.example.com', 'portcullis.example.com'] as const
/** Who signed them. */
export const AUTHORITY = '/etc/ssl/authority-of-this-test.pem'
/** For XDG_DATA_HOME. */
export const CADDY_DATA = '/run'

const ISOLATED = 'setpriv --pdeathsig KILL unshare --net --mount --pid --fork --mount-proc --kill-child'.split(' ')

/** Its own `/etc`, `/run` and `/var/log` may be written; nothing of it is there when the last process ends. */
const scriptOf = (folder: string) => `
set -e
ip link set lo up
ip address add ${PROXY_ADDRESS}/32 dev lo
ip address add ${OTHER_CLIENT}/32 dev lo
mount -t tmpfs tmpfs ${folder}
mkdir -m 755 ${folder}/upper ${folder}/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=${folder}/upper,workdir=${folder}/work /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir /var/log/nginx
rm -f /etc/nginx/sites-enabled/default
echo '${PROXY_ADDRESS} ${NAMES.join(' ')}' >> /etc/hosts
certificate='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
$certificate -x509 -days 2 -subj '/CN=Authority of this test' -keyout ${folder}/ca-key.pem -out ${AUTHORITY} 2>&-
for name in ${NAMES.join(' ')}; do
  live=/etc/letsencrypt/live/$name
  mkdir -p $live
  $certificate -subj /CN=$name -addext subjectAltName=DNS:$name -keyout $live/privkey.pem -out ${folder}/csr.pem 2>&-
  openssl x509 -req -copy_extensions copy -in ${folder}/csr.pem -CA ${AUTHORITY} -CAkey ${folder}/ca-key.pem \\
    -days 90 -out $live/fullchain.pem 2>&-
  # As if Caddy had got it from Let's Encrypt, where it looks first: there is nobody to ask in here.
  caddy=${CADDY_DATA}/caddy/certificates/acme-v02.api.letsencrypt.org-directory/$name
  mkdir -p $caddy
  cp $live/fullchain.pem $caddy/$name.crt
  cp $live/privkey.pem $caddy/$name.key
  printf '{"sans":["%s"],"issuer_data":null}' $name > $caddy/$name.json
done
exec "$@"
`

/** Runs the command that is added in a machine of its own, as far as proxies see: names, ports and paths are real. */
export const runnerIn = (folder: string): string[] => {
  chmodSync(folder, 0o755)
  return [...ISOLATED, 'bash', '-c', scriptOf(folder), 'bash']
}

/** Whether such a machine can be made; where tests must not be skipped, that it can't is a failure. */
export const mayRun = (commands: string[]): boolean => {
  const lacking = [...commands, 'ip', 'setpriv', 'unshare', 'openssl', 'curl'].filter((command) => !Bun.which(command))
  if (process.getuid?.() !== 0) lacking.push('root')
  if (lacking.length === 0) return true
  if (process.env['CI']) throw new Error(`this test needs ${lacking.join(', ')} in CI`)
  console.warn(`SKIPPED LOUDLY: the tests behind a proxy need ${lacking.join(', ')}`)
  return false
}

/** Whether this process is in such a machine. Where it is not, a test is declared that runs the same file there. */
export const inOwnNetwork = (file: string, commands: string[]): boolean => {
  if (process.env[VARIABLE]) return true
  if (!mayRun(commands)) return false
  test('in a network of its own', async () => {
    // Whoever kills the runner ends what runs in there too.
    const child = Bun.spawn([...runnerIn(tempFolder()), process.execPath, 'test', '--timeout', '20000', file], {
      env: { ...process.env, [VARIABLE]: '1', NODE_EXTRA_CA_CERTS: AUTHORITY },
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
    })
    expect(await child.exited).toBe(0)
  }, 120_000)
  return false
}
