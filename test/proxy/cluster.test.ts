import { expect, test } from 'bun:test'
import { chmodSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HELPERS } from '../docs/world.ts'
import { builtBinary } from '../support/binary.ts'
import { readPage } from '../support/markdown.ts'
import { tempFolder } from '../support/temp.ts'
import { mayRun, runnerIn } from './network.ts'

const fence = (language: string): string => {
  const found = readPage('docs/proxy.md').fences.find((one) => one.language === language)
  if (!found) throw new Error(`docs/proxy.md shows nothing of ${language}`)
  return found.text
}

const CONFIGS = {
  haproxy: `defaults
    mode http
    timeout connect 5s
    timeout client 610s
    timeout server 610s
    retries 0
frontend test
    bind 127.0.0.1:9000
    use_backend gate
${fence('haproxy')}
`,
  nginx: `events {}
http {
  access_log off;
  ${fence('nginx')}
  server {
    listen 127.0.0.1:9000;
    location / { proxy_pass http://portcullis_gate; proxy_set_header Host 127.0.0.1; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`,
}

/** Three nodes at the addresses that the page names; the last lines print how many calls each of them had. */
const SCRIPT = `set -e
${HELPERS}
for address in 10.0.0.1 10.0.0.2 10.0.0.3; do ip address add $address/32 dev lo; done
upstream 3001
join() {
  portcullis serve --data $1 --node-name $1 --listen $2:7070 --console $2:7071 --cluster-listen $2:7072 \\
    --cluster-join ws://10.0.0.1:7072 $3 $4 > $1.out 2> $1.log & echo $! > $1.pid
  until_true portcullis healthcheck --data $1
}
ticket() { portcullis cluster ticket --data a 2> /dev/null | grep ^pcj_; }
portcullis serve --data a --node-name a --listen 10.0.0.1:7070 --console 10.0.0.1:7071 --cluster-listen 10.0.0.1:7072 > a.out 2> a.log & echo $! > a.pid
until_true portcullis healthcheck --data a
join b 10.0.0.2 --ticket $(ticket)
join c 10.0.0.3 --ticket $(ticket)
portcullis server add github http://127.0.0.1:3001 --data a > /dev/null
secret=$(secret_of "Cursor IDE" --server github --data a)
code() { curl -s -m 10 -o answer -w '%{http_code}' -H "Authorization: Bearer $secret" http://127.0.0.1:9000/s/github/hello; }
passes() { [ "$(code)" = 200 ]; }
calls() { portcullis token activity "Cursor IDE" --data $1 | sed -n 's/^In all: *\\([0-9]*\\) call.*/\\1/p'; }
if [ "$1" = haproxy ]; then haproxy -c -f haproxy.cfg > /dev/null; haproxy -D -f haproxy.cfg; else nginx -c $PWD/nginx.cfg; fi
until_true passes
for try in 1 2 3 4 5 6 7 8 9 10; do is "$(code)" 200; done
busy=; for node in a b c; do [ "$(calls $node)" = 0 ] || busy="$busy $node"; done
echo "asked:$busy"
kill -9 $(cat $(echo $busy).pid)
# Its sessions are lost; the next request goes to another.
until_true passes
for try in 1 2 3; do is "$(code)" 200; done
echo passes
`

for (const name of Object.keys(CONFIGS) as (keyof typeof CONFIGS)[]) {
  test.skipIf(!mayRun([name]))(
    `${name} sends a token to one node, and to another when that one is down`,
    async () => {
      const folder = tempFolder()
      chmodSync(folder, 0o755)
      symlinkSync(builtBinary(), join(folder, 'portcullis'))
      writeFileSync(join(folder, `${name}.cfg`), CONFIGS[name])
      writeFileSync(join(folder, 'script.sh'), SCRIPT)
      const child = Bun.spawn([...runnerIn(tempFolder()), 'bash', join(folder, 'script.sh'), name], {
        cwd: folder,
        env: { PATH: `${folder}:${process.env['PATH'] ?? ''}`, HOME: folder },
        stdout: 'pipe',
        stderr: 'pipe',
      })
      const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
      expect([await child.exited, stdout], stderr).toEqual([0, expect.stringMatching(/^asked: [abc]\npasses\n$/)])
    },
    120_000,
  )
}
