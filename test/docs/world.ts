import { join } from 'node:path'

/** Shell that the documents' tests share: what the reader has already, and questions that end the shell when the answer is no. */

const UPSTREAM = `${process.execPath} ${join(import.meta.dir, 'upstream.ts')}`

export const HELPERS = `
until_true() { for try in $(seq 200); do "$@" > /dev/null 2>&1 && return 0; sleep 0.05; done; echo "not in time: $*" >&2; return 1; }
upstream() { ${UPSTREAM} "$1" > "$HOME/upstream-$1" 2>&1 & until_true test -s "$HOME/upstream-$1"; }
node() { portcullis serve >> "$HOME/serve.out" 2>> "$HOME/serve.log" & node_pid=$!; until_true curl -sf http://127.0.0.1:7071/healthz; }
field() { sed -n 's/^ *"'"$1"'": "\\(.*\\)",*$/\\1/p' | head -1; }
secret_of() { portcullis token create "$@" --json | field token; }
stream() { curl -sN -H "Authorization: Bearer $2" "http://127.0.0.1:7070/s/$3/sse" > "$HOME/stream-$1" 2>&1 & echo $! > "$HOME/pid-$1"; until_true grep -q tick "$HOME/stream-$1"; }
gone() { ! kill -0 "$(cat "$HOME/pid-$1")"; }
is_cut() { until_true gone "$1"; tail -3 "$HOME/stream-$1" | grep -q 'event: disconnect'; }
grown() { [ "$(wc -c < "$HOME/stream-$1")" -gt "$2" ]; }
flows() { kill -0 "$(cat "$HOME/pid-$1")"; until_true grown "$1" "$(wc -c < "$HOME/stream-$1")"; }
answer() { curl -s -m 10 -o "$HOME/answer" -w '%{http_code}' -H "Authorization: Bearer $1" "http://127.0.0.1:7070/s/$2/hello"; }
is() { [ "$1" = "$2" ] || { echo "not $2 but $1" >&2; return 1; }; }
not() { if "$@" > /dev/null 2>&1; then echo "it should not be so: $*" >&2; return 1; fi; }
is_dead() { is "$(answer "$1" "$2")" 401; }
is_alive() { is "$(answer "$1" "$2")" 200; }
call_tool() { curl -s -m 10 -H "Authorization: Bearer $1" -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\
  "http://127.0.0.1:7070/s/$2/mcp" -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"'"$3"'","arguments":'"$4"'}}'; }
`
