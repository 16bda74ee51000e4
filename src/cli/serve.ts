import type { Command } from 'commander'

/** The flags of the node; the configuration parses them, so here they are only described. */
const FLAGS: [flag: string, description: string][] = [
  [
    '--data <DIR>',
    'folder that holds everything (PORTCULLIS_DATA; default: $XDG_STATE_HOME/portcullis, else ~/.local/state/portcullis)',
  ],
  ['--listen <HOST:PORT>', 'address of the gate (PORTCULLIS_LISTEN; default: 127.0.0.1:7070)'],
  ['--console <HOST:PORT>', 'address of the console (PORTCULLIS_CONSOLE; default: 127.0.0.1:7071)'],
  ['--public-url <URL>', "the gate's URL as clients see it (PORTCULLIS_PUBLIC_URL; default: http:// + its address)"],
  ['--console-url <URL>', "the console's URL, likewise (PORTCULLIS_CONSOLE_URL; default: http:// + its address)"],
  [
    '--allow-host <HOST>',
    'a further name under which it is reached (repeatable; PORTCULLIS_ALLOW_HOST; default: none)',
  ],
  [
    '--allow-origin <ORIGIN>',
    'an origin whose pages may call the gate (repeatable; PORTCULLIS_ALLOW_ORIGIN; default: none)',
  ],
  [
    '--trusted-proxy <CIDR>',
    'a proxy whose X-Forwarded-* and Forwarded count (repeatable; PORTCULLIS_TRUSTED_PROXY; default: none)',
  ],
  ['--tls-cert <FILE>', 'certificate of both listeners, read again on SIGHUP (PORTCULLIS_TLS_CERT; default: none)'],
  ['--tls-key <FILE>', 'its private key, read again on SIGHUP (PORTCULLIS_TLS_KEY; default: none)'],
  ['--key-file <FILE>', 'where the keys are (PORTCULLIS_KEY_FILE; default: portcullis.key in the data folder)'],
  [
    '--probe-every <DURATION>',
    'how often the node tests that revoking works, 1s to 1d, or off (PORTCULLIS_PROBE_EVERY; default: 1m)',
  ],
  [
    '--stdio-processes <N>',
    'processes of servers that are commands, in all (PORTCULLIS_STDIO_PROCESSES; default: 256)',
  ],
  ['--stdio-processes-per-token <N>', 'of those under one token (PORTCULLIS_STDIO_PROCESSES_PER_TOKEN; default: 32)'],
  ['--node-name <NAME>', 'what people call this node (PORTCULLIS_NODE_NAME; default: the name of the machine)'],
  [
    '--cluster-listen <HOST:PORT>',
    'address for the other nodes of its cluster (PORTCULLIS_CLUSTER_LISTEN; default: none)',
  ],
  [
    '--cluster-advertise <URL>',
    'where they reach it, ws:// or wss:// (PORTCULLIS_CLUSTER_ADVERTISE; default: ws:// + that address)',
  ],
  [
    '--cluster-policy <POLICY>',
    'lease: a node that hears from no majority stops; serve: it goes on; for all members ' +
      '(PORTCULLIS_CLUSTER_POLICY; default: lease from three members on)',
  ],
  ['--lease <DURATION>', 'how long it still goes on under lease, 1s to 60s (PORTCULLIS_LEASE; default: 5s)'],
  ['--cluster-join <URL>', 'a member to join by, with a ticket (PORTCULLIS_CLUSTER_JOIN; default: none)'],
  [
    '--ticket <TICKET>',
    'what `portcullis cluster ticket` printed there; a member needs none any more (PORTCULLIS_TICKET; default: none)',
  ],
  [
    '--cluster-nats <URL>',
    'a NATS server that carries what nodes say, nats:// or tls:// (repeatable; PORTCULLIS_CLUSTER_NATS; default: none)',
  ],
  ['--cluster-nats-creds <FILE>', 'credentials for NATS (PORTCULLIS_CLUSTER_NATS_CREDS; default: none)'],
  [
    '--log-level <LEVEL>',
    'trace, debug, info, warn, error or silent; the log goes to stderr (PORTCULLIS_LOG_LEVEL; default: info)',
  ],
  ['--log-format <FORMAT>', 'text or json lines (PORTCULLIS_LOG_FORMAT; default: text on a terminal, else json)'],
]

const NOTE = `
A flag wins over its environment variable, and that over portcullis.toml in the data folder,
whose keys are the flags' names. Lists in the environment are comma-separated.`

const describe = (command: Command): void => {
  for (const [flag, description] of FLAGS) command.option(flag, description)
  command.configureHelp({ ...command.configureHelp(), showGlobalOptions: false }).addHelpText('after', NOTE)
}

/** Listed for `--help`; what runs them is handed the arguments before any is parsed here. */
export const serveCommands = (program: Command): void => {
  describe(program.command('serve').description('run the gate, the console and the API in one process'))
  describe(
    program
      .command('demo')
      .description('serve with a built-in server "demo", a token and a live stream to watch; no setup'),
  )
}
