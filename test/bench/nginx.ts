import { HOST, startProgram, written } from './program.ts'
import { freePort } from '../support/port.ts'
import type { StartProxy } from './reverse-proxy.ts'
import { executableOf, versionOf } from './versions.ts'

/** Whether it may pass is asked of the peers too: by a map, and the token goes no further. */
const nginxConfig = (folder: string, port: number, originPort: number, token: string): string => `
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid ${folder}/pid;
error_log stderr crit;
events { worker_connections 15000; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_requests 10000000;
  map_hash_bucket_size 128;
  map $http_authorization $is_live {
    default 0;
    "Bearer ${token}" 1;
  }
  upstream origin {
    server ${HOST}:${originPort};
    keepalive 64;
    keepalive_requests 10000000;
  }
  server {
    listen ${HOST}:${port} backlog=4096;
    location / {
      if ($is_live = 0) { return 401; }
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }
  }
}
`

export const startNginx: StartProxy = async (originPort, token) => {
  const port = freePort()
  const program = await startProgram({
    name: 'nginx',
    side: 'contender',
    port,
    command: async (folder) => {
      const config = await written(`${folder}/config`, nginxConfig(folder, port, originPort, token))
      return [executableOf('nginx') ?? '', '-p', folder, '-c', config]
    },
  })
  return { name: `nginx ${versionOf('nginx')}`, port, prefix: '', token, ...program }
}
