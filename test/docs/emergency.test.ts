import { test } from 'bun:test'
import { join } from 'node:path'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { HELPERS } from './world.ts'

const TAMPER = `${process.execPath} ${join(import.meta.dir, 'tamper.ts')}`

/** Two servers with credentials, and a small disk of the node's own, to be filled. */
const BEFORE = `${HELPERS}
mkdir -p .local/state && mount -t tmpfs -o size=64m,mode=700 tmpfs .local/state
upstream 3001
upstream 3002
node
printf 'Bearer old-credential' > github-token.txt
printf 'Bearer new-credential' > new-github-token.txt
printf '{"headers":{"Authorization":"Bearer newer-credential"}}' > new-wiki-header.json
portcullis server add github http://127.0.0.1:3001 --header 'Authorization: @github-token.txt'
portcullis server add wiki http://127.0.0.1:3002 --header 'Authorization: @github-token.txt'
next_second() { local now=$(date +%s); until [ "$(date +%s)" -gt "$now" ]; do sleep 0.05; done; }
fresh() {
  portcullis revoke --all --reason other --yes
  portcullis server open --all
  bystander=$(secret_of Bystander --server wiki --subject someone-else@example.com)
  stream bystander "$bystander" wiki
}
unharmed() { flows bystander; is_alive "$bystander" wiki; }
cursor() { cursor=$(secret_of "Cursor IDE" --server github --subject dev@example.com); stream cursor "$cursor" github; }
agent() { agent=$(secret_of "Build agent" --server github); stream agent "$agent" github; }
use_link() { curl -s -o /dev/null -c "$1.cookies" -H 'Sec-Fetch-Site: same-origin' -d "code=\${2##*code=}&name=$1&password=correct-horse&again=correct-horse" http://127.0.0.1:7071/setup; signed_in "$1"; }
sign_in() { use_link "$1" "$(portcullis operator create "$1" --role "$2" --json | field url)"; }
session() { curl -s -o "$HOME/answer" -w '%{http_code}' -b "$1.cookies" -H 'Sec-Fetch-Site: same-origin' -H 'Content-Type: application/json' "http://127.0.0.1:7071/api/v1$2" "\${@:3}"; }
signed_in() { is "$(session "$1" /node)" 200; }
signed_out() { is "$(session "$1" /node)" 401; }
`

const SCENES = {
  'A token leaked, and you know its name': {
    before: `fresh; cursor; call_tool "$cursor" github add '{"a":1,"b":2}'`,
    after: `is_cut cursor; is_dead "$cursor" github; unharmed`,
  },
  Afterwards: { after: `is "$(portcullis token ls | grep -c 'Cursor IDE.*active')" 1; is_dead "$cursor" github` },
  'A secret leaked, and you do not know whose it is': {
    before: `fresh; leaked=$(secret_of "Night job" --server github); stream job "$leaked" github
      echo "10.0.0.7 - - \\"GET /t/$leaked/s/github/mcp HTTP/1.1\\" 200" > leaked.txt`,
    after: `is_cut job; is_dead "$leaked" github; unharmed; not grep -rqF "$leaked" .local/state serve.log serve.out`,
  },
  'Something leaked, and nobody knows what': {
    before: `fresh; cursor; agent=$(secret_of "Build agent" --server github); next_second`,
    after: `is_cut cursor; is_dead "$cursor" github; is_dead "$agent" github; unharmed
      young=$(secret_of "Cursor IDE" --server github); is_alive "$young" github`,
  },
  'An agent runs wild': {
    before: `fresh; agent
      wild=$(secret_of "Night agent" --server github); stream wild "$wild" github; call_tool "$wild" github countdown '{"seconds":1}'
      docs=$(secret_of "Docs agent" --server github); stream docs "$docs" github`,
    after: `is_cut agent; is_dead "$agent" github; is_cut wild; is_dead "$wild" github; unharmed
      is_cut docs; call_tool "$docs" github add '{"a":1,"b":2}' | grep -q -e -32081`,
  },
  'Somebody leaves': {
    before: `fresh; sign_in dana operator
      zed=$(secret_of "Dana's Zed" --server github --subject dana@example.com); stream zed "$zed" github
      ci=$(secret_of "Dana on CI" --server github,wiki --subject Dana@Example.com)
      is "$(session dana /tokens -d '{"name":"Team bot","servers":["github"]}')" 201; bot=$(sed 's/.*"token":"\\([^"]*\\)".*/\\1/' answer)
      is_alive "$bot" github
      scripts=$(portcullis apikey create dana-scripts --role operator --json | field key)`,
    after: `is_cut zed; is_dead "$zed" github; is_dead "$ci" wiki; is_dead "$bot" github; signed_out dana; unharmed
      is "$(curl -s -o answer -w '%{http_code}' -H "Authorization: Bearer $scripts" http://127.0.0.1:7071/api/v1/node)" 401
      portcullis token ls | grep -q 'Team bot.*active'`,
  },
  'A laptop is lost': {
    before: `fresh; cursor; sign_in eve operator`,
    after: `is_cut cursor; is_dead "$cursor" github; signed_out eve; unharmed`,
  },
  'A server behind the gate is broken into': {
    before: `fresh; cursor; agent; both=$(secret_of Team --server wiki); is "$(answer "$both" wiki)" 200; is "$(cat answer)" "Bearer old-credential"`,
    after: `is_cut cursor; is_cut agent; is_dead "$cursor" github; is_dead "$agent" github; unharmed
      young=$(portcullis token rotate "Cursor IDE" --json | field token); is_alive "$young" github; is "$(cat answer)" "Bearer new-credential"
      is_alive "$both" wiki; is "$(cat answer)" "Bearer newer-credential"`,
  },
  'Somebody has an account of the console': {
    before: `fresh; use_link ada "$(portcullis setup --json | field url)"; sign_in bob operator
      is "$(session bob /tokens -d '{"name":"Innocent name","servers":["github"]}')" 201; evil=$(sed 's/.*"token":"\\([^"]*\\)".*/\\1/' answer)
      stream evil "$evil" github`,
    after: `signed_out bob; is_cut evil; is_dead "$evil" github; unharmed
      # The thief keeps the old cookie; ada sets another password with the link.
      cp ada.cookies thief.cookies; signed_in thief
      link=$(portcullis operator reset ada --json | field url); use_link ada "$link"; signed_out thief; signed_in ada
      not portcullis operator rm ada`,
  },
  'Everything must stop': {
    before: `fresh; cursor; agent`,
    after: `is_cut cursor; is_cut agent; is_cut bystander; for token in "$cursor" "$agent"; do is_alive "$token" github; done; is_alive "$bystander" wiki`,
  },
  'The machine or its backup is stolen': {
    before: `fresh; cursor; portcullis backup portcullis.backup; kill $node_pid; wait $node_pid
      mv .local/state/portcullis/* stolen-machine 2> /dev/null || { mkdir stolen-machine; mv .local/state/portcullis stolen-machine; }`,
    after: `until_true curl -sf http://127.0.0.1:7071/healthz; is_dead "$cursor" github; is_dead "$bystander" wiki; is "$(portcullis key ls | wc -l)" 2`,
  },
  'It says NOT YET ON DISK': {
    before: `fresh; cursor; cat /dev/zero > .local/state/debug.log 2> /dev/null || true`,
    after: `is_cut cursor; is_dead "$cursor" github; unharmed; portcullis audit verify; not test -e .local/state/debug.log`,
  },
  'The audit log does not verify': {
    before: `fresh; rm portcullis.backup; portcullis backup portcullis.backup; cursor; portcullis revoke "Cursor IDE" --reason compromised
      ${TAMPER} .local/state/portcullis/portcullis.db`,
    after: `is "$(curl -s -o answer -w '%{http_code}' http://127.0.0.1:7071/readyz)" 503; test -s evidence.backup; test -s evidence.jsonl; unharmed
      portcullis revoke Bystander --reason compromised; is_cut bystander`,
  },
  'A log that holds again': {
    before: `kill "$(pgrep -x portcullis)"; until_true test ! -e .local/state/portcullis/control.sock`,
    after: `until_true curl -sf http://127.0.0.1:7071/readyz; is_dead "$bystander" wiki; not grep -rqF -e "$bystander" -e "$cursor" .local/state`,
  },
}

test.if(mayRunGuides())('each scene goes as it is told, and nobody else is harmed', async () => {
  expectShown(await runGuide('docs/emergency.md', { before: BEFORE, scenes: SCENES }))
})
