/** Series that begin at 0 and have a value a minute, in promtool's notation, by name. */
export type Input = Record<string, string>

export interface Scene {
  alert: string
  what: string
  input: Input
  at: string
  fires: boolean
}

const NODE = 'instance="node:7071", job="portcullis"'
const DAY_S = 86_400

/** A histogram of which so many observations a minute are at most so long; all that is asked for is 0.04 s and above. */
const histogram = (name: string, labels: string, fast: number, slow: number): Input => {
  const bucket = (le: string, count: number) => ({ [`${name}_bucket{${NODE}${labels}, le="${le}"}`]: `0+${count}x60` })
  return {
    ...bucket('0.015', fast),
    ...bucket('0.02', fast),
    ...bucket('0.04', fast),
    ...bucket('0.05', fast + slow),
    ...bucket('+Inf', fast + slow),
  }
}
const one = (name: string, values: string, labels = ''): Input => ({ [`${name}{${NODE}${labels}}`]: values })

/** For each alert, when it fires, and when it does not. */
export const SCENES: Scene[] = [
  ...scenes('PortcullisDown', {
    'it answers': [one('up', '1x60'), '10m', false],
    'it has just gone': [one('up', '1x9 0x50'), '10m', false],
    'it is gone': [one('up', '1x5 0x50'), '10m', true],
    'nobody told Prometheus of it': [{}, '10m', true],
  }),
  ...scenes('PortcullisNotReady', {
    'it is ready': [one('portcullis_ready', '1x60'), '10m', false],
    'for a moment it was not': [one('portcullis_ready', '1x8 0 1x50'), '10m', false],
    'it is not': [one('portcullis_ready', '1x5 0x50'), '10m', true],
  }),
  ...scenes('PortcullisProbeFailing', {
    'it passes': [one('portcullis_probe_success', '1x60'), '10m', false],
    'it failed once': [one('portcullis_probe_success', '1x7 0 1x50'), '10m', false],
    'it fails': [one('portcullis_probe_success', '1x5 0x50'), '10m', true],
  }),
  ...scenes('PortcullisProbeSilent', {
    'it ran a minute ago': [probe(60, '0+60x100'), '30m', false],
    'it never ran, and the node has just started': [probe(60, '0x60'), '7m', false],
    'it never ran': [probe(60, '0x60'), '15m', true],
    'it has stopped': [probe(60, '0+60x10 600x50'), '30m', true],
    'it is off': [probe(0, '0x60'), '30m', false],
    'it is to run once a day': [probe(DAY_S, '0x60'), '30m', false],
  }),
  ...scenes('PortcullisRevocationNotDurable', {
    'all are on disk': [
      { ...revoked('true', '0+1x60'), ...revoked('false', '0x60'), ...queue('journal', '0x60') },
      '30m',
      false,
    ],
    'one was not, and is by now': [{ ...revoked('false', '0x25 1x60'), ...queue('journal', '0x60') }, '30m', true],
    'one was not, an hour ago': [{ ...revoked('false', '0x5 1x100'), ...queue('journal', '0x100') }, '60m', false],
    'a closing waits, and no revocation': [
      { ...revoked('false', '0x60'), ...queue('journal', '0x28 1x60') },
      '30m',
      true,
    ],
    'something else waits': [{ ...revoked('false', '0x60'), ...queue('receipts', '3x60') }, '30m', false],
  }),
  ...scenes('PortcullisJournalFillingUp', {
    'it is empty': [journal('0x60'), '10m', false],
    'it is half full': [journal('524288x60'), '10m', false],
    'it is fuller': [journal('600000x60'), '10m', true],
  }),
  ...scenes('PortcullisAuditBroken', {
    'it holds': [one('portcullis_audit_intact', '1x60'), '10m', false],
    'it does not': [one('portcullis_audit_intact', '1x9 0x50'), '10m', true],
  }),
  ...scenes('PortcullisIsolated', {
    'it hears from the others': [clustered('0x60', '1x60'), '10m', false],
    'it stands alone': [{}, '10m', false],
    'for a moment it did not': [clustered('0x8 1 0x50', '1x60'), '10m', false],
    'it hears from nobody, and goes on': [clustered('0x5 1x50', '1x60'), '10m', true],
    'it does not know yet what they know': [clustered('0x60', '1x5 0x50'), '10m', true],
  }),
  ...scenes('PortcullisRevocationIncomplete', {
    'all are complete': [one('portcullis_cluster_incomplete_revocations', '0x60'), '10m', false],
    'one has just been made': [one('portcullis_cluster_incomplete_revocations', '0x10 1x50'), '10m', false],
    'one is not, for minutes': [one('portcullis_cluster_incomplete_revocations', '0x5 1x50'), '10m', true],
  }),
  ...scenes('PortcullisMemberUnreachable', {
    'all are linked': [members('1x60', '1x60'), '10m', false],
    'one was away for a minute': [members('1x60', '1x8 0 1x50'), '10m', false],
    'one is away': [members('1x60', '1x5 0x50'), '10m', true],
  }),
  ...scenes('PortcullisPeersRefused', {
    'nobody is': [refused('wrong_key', '0x60'), '30m', false],
    'one was, once': [refused('wrong_key', '0x25 1x60'), '30m', false],
    'one knocks': [refused('not_a_member', '0x20 0+2x60'), '30m', true],
    'a frame was too large': [refused('too_large', '0+2x60'), '30m', false],
  }),
  ...scenes('PortcullisRevocationSlow', {
    'nobody revokes': [histogram('portcullis_revocation_duration_seconds', ', phase="last_cut"', 0, 0), '30m', false],
    'they are fast': [histogram('portcullis_revocation_duration_seconds', ', phase="last_cut"', 10, 0), '30m', false],
    'some take longer': [histogram('portcullis_revocation_duration_seconds', ', phase="last_cut"', 10, 1), '30m', true],
    'only what is tidied up takes longer': [
      histogram('portcullis_revocation_duration_seconds', ', phase="upstream_cancelled"', 10, 10),
      '30m',
      false,
    ],
    'nobody revokes, and the own tests take longer': [
      {
        ...histogram('portcullis_revocation_duration_seconds', ', phase="last_cut"', 0, 0),
        ...histogram('portcullis_probe_duration_seconds', ', phase="last_cut"', 0, 1),
      },
      '30m',
      true,
    ],
  }),
  ...scenes('PortcullisCommitSlow', {
    'they are fast': [histogram('portcullis_commit_duration_seconds', '', 100, 0), '30m', false],
    'one in a thousand is slow': [histogram('portcullis_commit_duration_seconds', '', 999, 1), '30m', false],
    'many are': [histogram('portcullis_commit_duration_seconds', '', 90, 10), '30m', true],
    'many are, for five minutes': [histogram('portcullis_commit_duration_seconds', '', 90, 10), '5m', false],
  }),
  ...scenes('PortcullisLoopBlocked', {
    'it is free': [one('portcullis_loop_delay_max_seconds', '0.02x60'), '30m', false],
    'it stood still once': [one('portcullis_loop_delay_max_seconds', '0.02x25 1 1 0.02x60'), '30m', false],
    'it stands still again and again': [one('portcullis_loop_delay_max_seconds', '0.02x10 0.4x60'), '30m', true],
  }),
  ...scenes('PortcullisConnectionsNearLimit', {
    'there is room': [connections(500, 100, 0), '30m', false],
    'sessions do not count': [connections(500, 100, 900), '30m', false],
    'there is none left': [connections(500, 400, 0), '30m', true],
  }),
  ...scenes('PortcullisFilesNearLimit', {
    'there are some left': [files('portcullis', 700), '30m', false],
    'there are few left': [files('portcullis', 900), '30m', true],
    'it is another program': [files('node', 900), '30m', false],
  }),
  ...scenes('PortcullisDiskNearlyFull', {
    'there is room': [one('portcullis_data_available_bytes', '5000000000x60'), '30m', false],
    'there is little': [one('portcullis_data_available_bytes', '400000000x60'), '30m', true],
    'there was little for a moment': [
      one('portcullis_data_available_bytes', '5000000000x27 1 5000000000x60'),
      '30m',
      false,
    ],
  }),
  ...scenes('PortcullisCertificateExpiring', {
    'it is new': [certificate(80), '2h', false],
    'without TLS': [{}, '2h', false],
    'it ends in two weeks': [certificate(14), '2h', true],
    'it has ended': [certificate(0), '2h', true],
  }),
  ...scenes('PortcullisBackupOld', {
    'it was made two hours ago': [one('portcullis_backup_timestamp_seconds', '0x200'), '2h', false],
    // promtool's clock begins at 0.
    'it was made eight days before': [one('portcullis_backup_timestamp_seconds', `${-8 * DAY_S}x200`), '2h', true],
    'it has just become a week old': [one('portcullis_backup_timestamp_seconds', `${-7 * DAY_S}x200`), '30m', false],
  }),
  ...scenes('PortcullisCommandCrashing', {
    'it crashed once or twice': [
      one('portcullis_stdio_crashes_total', '0x10 1x10 2x60', ', server="fs"'),
      '25m',
      false,
    ],
    'it crashes and crashes': [
      one('portcullis_stdio_crashes_total', '0x10 1 2 3 4 5 5x60', ', server="fs"'),
      '20m',
      true,
    ],
    'it did, an hour ago': [one('portcullis_stdio_crashes_total', '0 1 2 3 4 5 5x90', ', server="fs"'), '60m', false],
  }),
  ...scenes('PortcullisDeadTokenTried', {
    'nobody does': [one('portcullis_dead_token_tries_total', '7x60'), '30m', false],
    'somebody does': [one('portcullis_dead_token_tries_total', '7x25 8x60'), '30m', true],
    'somebody did, half an hour ago': [one('portcullis_dead_token_tries_total', '7x5 8x60'), '40m', false],
  }),
]

type Told = [input: Input, at: string, fires: boolean]

function scenes(alert: string, told: Record<string, Told>): Scene[] {
  return Object.entries(told).map(([what, [input, at, fires]]) => ({ alert, what, input, at, fires }))
}

function probe(everyS: number, lastAt: string): Input {
  return {
    ...one('portcullis_probe_interval_seconds', `${everyS}x100`),
    ...one('portcullis_probe_timestamp_seconds', lastAt),
  }
}

function revoked(durable: string, values: string): Input {
  return one('portcullis_revocations_total', values, `, durable="${durable}"`)
}

function queue(name: string, values: string): Input {
  return one('portcullis_queue_length', values, `, queue="${name}"`)
}

function journal(used: string): Input {
  return { ...one('portcullis_journal_used_bytes', used), ...one('portcullis_journal_size_bytes', '1048576x60') }
}

function connections(sse: number, request: number, session: number): Input {
  return {
    ...one('portcullis_connections', `${sse}x60`, ', kind="sse"'),
    ...one('portcullis_connections', `${request}x60`, ', kind="request"'),
    ...one('portcullis_connections', `${session}x60`, ', kind="session"'),
    ...one('portcullis_connections_limit', '1000x60'),
  }
}

function clustered(isolated: string, serving: string): Input {
  return { ...one('portcullis_cluster_isolated', isolated), ...one('portcullis_cluster_serving', serving) }
}

function members(...up: string[]): Input {
  return Object.assign(
    {},
    ...up.map((values, place) => one('portcullis_cluster_member_up', values, `, node="${place}"`)),
  )
}

function refused(reason: string, values: string): Input {
  return one('portcullis_cluster_refused_total', values, `, reason="${reason}"`)
}

function files(job: string, open: number): Input {
  return {
    [`process_open_fds{instance="node:7071", job="${job}"}`]: `${open}x60`,
    [`process_max_fds{instance="node:7071", job="${job}"}`]: '1000x60',
  }
}

function certificate(days: number): Input {
  return one('portcullis_certificate_expiry_timestamp_seconds', `${days * DAY_S}x200`)
}
