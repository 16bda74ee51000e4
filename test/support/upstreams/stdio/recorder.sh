# A small MCP server of both eras that starts as fast as a shell, for tests of many: /bin/sh recorder.sh FILE [MODE]
#
# Writes to FILE its own process id at its start ("PID start"), and each line that it is given ("PID LINE").
#
#   stubborn   ignores SIGTERM and the end of its input, and has a child that does so too
#   slow       takes half a second until it listens
#
# After a notification "notifications/hold" it reads nothing until there is a file FILE.go, then all, to FILE.rest.
# Tools: `never` is not answered; any other is, with progress first where that was asked for.
file=$1
if [ "$2" = stubborn ]; then
  trap '' TERM INT HUP
  (while :; do sleep 1; done) &
fi
echo "$$ start" >>"$file"
[ "$2" = slow ] && sleep 0.5

answer() {
  id=${line#*\"id\":}
  id=${id%%[,\}]*}
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"
}

progress() {
  token=${line#*\"progressToken\":}
  token=${token%%[,\}]*}
  printf '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}\n' "$token"
}

info='"capabilities":{"tools":{}},"serverInfo":{"name":"recorder","version":"1"}'
while read -r line; do
  printf '%s %s\n' "$$" "$line" >>"$file"
  case $line in
    *'"method":"notifications/hold"'*)
      until [ -e "$file.go" ]; do sleep 0.05; done
      cat >"$file.rest"
      ;;
    *'"method":"notifications/'*) ;;
    *'"method":"initialize"'*) answer "{\"protocolVersion\":\"2025-11-25\",$info}" ;;
    *'"method":"server/discover"'*)
      answer "{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],\"ttlMs\":0,\"cacheScope\":\"private\",$info}"
      ;;
    *'"name":"never"'*)
      case $line in *progressToken*) progress ;; esac
      ;;
    *'"method":'*)
      case $line in *progressToken*) progress ;; esac
      answer '{"resultType":"complete","content":[{"type":"text","text":"done"}]}'
      ;;
  esac
done
[ "$2" = stubborn ] && while :; do sleep 1; done
