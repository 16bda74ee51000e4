import './many-requests.ts'
import { accessSync, chmodSync, constants, existsSync, readFileSync, rmSync } from 'node:fs'
import { uptime } from 'node:os'
import { resolve } from 'node:path'
import { Access } from './access.ts'
import { Activity } from './activity.ts'
import { alone } from './alone.ts'
import { ApiKeys } from './apikey.ts'
import { AttentionRounds } from './attention.ts'
import { Fold } from './audit.ts'
import { type Checkpoint, headOfCheckpoint, signCheckpoint } from './checkpoint.ts'
import type { Hooks } from './cli/hooks.ts'
import { startNode } from './cli/start.ts'
import { ClusterMeasures } from './cluster-measures.ts'
import { type Config, defaultDataFolder, type Environment, loadConfig, SERVICE_DATA, SERVICE_UNIT } from './config.ts'
import { Control, putState } from './control.ts'
import { Emergency } from './emergency.ts'
import { AppError, invalid, messageOf } from './error.ts'
import { Gate, type GateOptions } from './gate/gate.ts'
import { Health } from './health.ts'
import { Issuance } from './issuance.ts'
import { KeyRing } from './key.ts'
import { KeyRotation } from './key-rotation.ts'
import { connectionsFor, limits } from './limits.ts'
import { createLogger, type Logger } from './log.ts'
import { LoopDelay } from './loop-delay.ts'
import { createStdio } from './main/stdio.ts'
import type { Node } from './node.ts'
import { SYSTEM } from './operator.ts'
import { Placement } from './placement.ts'
import { Pulse } from './pulse.ts'
import { Receipts } from './receipt.ts'
import { Registry } from './registry.ts'
import { denyRecord, Revocations } from './revocation.ts'
import { Search } from './search.ts'
import type { Restored } from './restored.ts'
import { SelfTest } from './selftest.ts'
import { connectTo } from './selftest/client.ts'
import { startTestUpstream } from './selftest/upstream.ts'
import { consoleDoor } from './server/doors/console.ts'
import { listen, openFilesLimit, preflight } from './server/doors/listen.ts'
import { socketDoor } from './server/doors/socket.ts'
import { createMetrics } from './server/metrics.ts'
import { Sightings } from './sightings.ts'
import { Standing, UNFIT_PROBLEMS } from './standing.ts'
import { ActivityStore } from './store/activity.ts'
import { AnswerStore } from './store/answers.ts'
import { ApiKeyStore } from './store/apikey.ts'
import { AuditStore } from './store/audit.ts'
import { AuditSearch } from './store/audit-search.ts'
import { Backups, clearStaging } from './store/backup.ts'
import { filesOf, lockFolder, makeFolder, sizesOf } from './store/folder.ts'
import { ClusterStore, isOfCluster } from './store/cluster.ts'
import { openJournal } from './store/journal.ts'
import { checkKeyFile, readKeyFile } from './store/keyfile.ts'
import { KeyStore } from './store/key-rotation.ts'
import { openStore } from './store/open.ts'
import { OperatorStore } from './store/operator.ts'
import { RevocationStore } from './store/revocation.ts'
import { becomeOwnerOf } from './store/owner.ts'
import type { RestoreOptions } from './store/restore.ts'
import { SelfTestStore } from './store/selftest.ts'
import { ServerStore } from './store/server.ts'
import { TokenStore } from './store/token.ts'
import { UsageStore } from './store/usage.ts'
import { formatTime } from './time.ts'
import { TokenIndex } from './token-index.ts'
import { TokenNames } from './token-names.ts'
import { triesOf } from './tries.ts'
import { Upkeep } from './upkeep.ts'
import { UpstreamIndex } from './upstream.ts'
import { Evidence, usageHistory, UsageMeter } from './usage.ts'
import { Verifier } from './verification.ts'
import { version } from './version.ts'
import { runWorker } from './worker/run.ts'
import type { SnapshotAnswer, SnapshotRequest } from './worker/snapshot.ts'
import type { VerifyAnswer, VerifyRequest } from './worker/verify.ts'

const env = process.env as Environment
const now = () => Date.now()
const stopwatch = () => performance.now()
/** Counts on while the machine sleeps, which the other does not: a session ends in a closed laptop too. */
const uptimeMs = () => uptime() * 1_000

interface Running {
  node: Node
  stop(): Promise<void>
}

/** Opens the folder, builds the node and lets it listen. */
const start = async (config: Config, log: Logger, reread: () => Config): Promise<Running> => {
  // A folder that is there is locked first: that another node runs on it says more than that its ports are taken.
  let unlock = existsSync(filesOf(config.data).lock) ? lockFolder(config.data) : null
  checkKeyFile(config.keyFile, config.data)
  preflight(config)
  makeFolder(config.data)
  unlock ??= lockFolder(config.data)
  const files = filesOf(config.data)
  clearStaging(config.data, config.keyFile)
  const store = openStore({
    folder: config.data,
    keyFile: config.keyFile,
    version: version.version,
    now,
    // Also where only warnings are read: until it is done, nothing is listened on.
    onUpgrade: ({ from, to, bytes, copy }, tookMs) => {
      if (tookMs === null) {
        const size = `${Math.ceil(bytes / 1e6)} MB`
        log.warn({ size, copy }, `the database of ${from} is being brought to ${to}; a large one takes some seconds`)
      } else log.warn({ tookMs: Math.round(tookMs), copy }, `the database is of ${to} now; nothing removes the copy`)
    },
  })

  // Most nodes stand alone, and start faster without all this.
  const together = config.cluster || isOfCluster(store) ? await import('./main/cluster.ts') : null
  await together?.joinFirst(config, store, version.version, log)

  // The domain, and its doors to the disk
  const serverStore = new ServerStore(store)
  const tokenStore = new TokenStore(store)
  const revocationStore = new RevocationStore(store)
  const usageStore = new UsageStore(store)
  const activityStore = new ActivityStore(store)
  const auditStore = new AuditStore(store)
  const auditSearch = new AuditSearch(store, limits)
  const answers = new AnswerStore(store, limits.idempotencyMs, limits.idempotencyKeysMax)
  const servers = new UpstreamIndex()
  for (const server of serverStore.all()) servers.add(server)
  const tokens = new TokenIndex()
  tokenStore.load(tokens)
  const names = new TokenNames(tokens, limits)
  const registry = new Registry(limits, now, connectionsFor(openFilesLimit()))
  const standing = new Standing(stopwatch)
  const usage = new UsageMeter()
  const sightings = new Sightings(limits, now)
  const activity = new Activity(limits, (sighting) => sightings.note(sighting))
  const { stdio, call, probe } = createStdio({
    ...{ config, env, servers, registry, limits, now, log },
    close: (server, reason) => void control.closeOne(server, reason, SYSTEM),
    onTurned: (server, found) => health.tell(server, found),
    onSessionEnded: (server, sessionId) => gate.forgetSession(server, sessionId),
  })
  const evidence = new Evidence(usageStore, limits)
  const fold = new Fold(limits.foldKeysMax)
  const journal = openJournal(files.journal, limits.journalBytes)
  const emergency = new Emergency(revocationStore, journal, limits, (error) => {
    if (error)
      log.error(
        { error },
        "the database can't be written; what was done is in force and in the journal, and is tried again",
      )
    else log.info({}, 'the database took what waited in the journal')
  })
  const receipts = new Receipts({
    store: revocationStore,
    emergency,
    limits,
    onLate: (error) =>
      log.warn({ err: error }, 'the figures of a revocation can not be kept yet; the revocation itself is'),
  })
  const access = new Access({
    store: new OperatorStore(store),
    onUnaudited: (error, session) =>
      log.error({ err: error, session }, 'a session was ended, and that could not be written to the audit log'),
    fold,
    limits,
    now,
    stopwatch: uptimeMs,
  })
  const apiKeys = new ApiKeys({ store: new ApiKeyStore(store), ring: store.keys, fold, now })
  const clusterMeasures = new ClusterMeasures()
  const clustered = together?.createCluster({
    ...{ config, version: version.version, store, tokens, servers, registry, standing, access, apiKeys, receipts },
    ...{ emergency, revocationStore, measures: clusterMeasures, now, stopwatch, log },
  })
  const cluster = clustered?.cluster ?? alone
  const placement = new Placement({ node: store.node, formerly: new ClusterStore(store).formerly(), cluster })
  const health = new Health({ servers, probe, placement, limits, now, stopwatch })
  // What a crash left in the journal holds before the first request, whether the database takes it or not.
  for (const entry of emergency.pending) {
    if (entry.op === 'revocation') entry.record = denyRecord(entry.record, tokens, entry.issuedUntil)
    else if (entry.record.action !== 'kill')
      putState(
        entry.record.servers.flatMap(({ id }) => servers.byId.get(id) ?? []),
        entry.record.action,
        entry.record.reason,
      )
  }
  emergency.flush()
  const control = new Control({ servers, registry, emergency, store: serverStore, now, placement })
  const issuance = new Issuance({ tokens, servers, registry, keys: store.keys, store: tokenStore, now })
  const revocations = new Revocations({
    tokens,
    servers,
    registry,
    emergency,
    receipts,
    peers: cluster,
    now,
  })
  const attention = new AttentionRounds({
    tokens,
    servers,
    usage,
    sightings,
    lastUses: (slice) => usageStore.lastUses(slice),
    // What could not be written waits in the journal.
    changes: () => store.log.head.sequence + emergency.pending.length,
    limits,
    now,
    stopwatch,
    onFailed: (error) => log.warn({ err: error }, 'what needs a look could not be found out'),
  })
  const verifier = new Verifier({
    expected: (given) => {
      // The head that this node remembers: a log that was cut off behind its back is found out.
      const own = { ...store.log.head }
      return given ? [own, headOfCheckpoint(given, store.database, store.keys)] : [own]
    },
    read: async (expected) =>
      (await runWorker<VerifyRequest, VerifyAnswer>('verify', { file: files.database, expected })).verification,
    limits,
    now,
    onBroken: ({ message }) => log.error({ found: message }, 'the audit log does not hold'),
    onFailed: (error) => log.warn({ err: error }, 'the audit log could not be verified'),
  })
  const keys = new KeyRotation({
    ring: store.keys,
    tokens,
    servers,
    apiKeys,
    revocations,
    store: new KeyStore(store),
    now,
  })
  const backups = new Backups({
    folder: config.data,
    version: version.version,
    store,
    limits,
    flush: () => emergency.flush(),
    snapshot: (to) => runWorker<SnapshotRequest, SnapshotAnswer>('snapshot', { file: files.database, to }),
  })

  // Listening: the gate's address is known once it is bound
  const listener = listen(config, files.socket)
  const { gateUrl, consoleUrl } = listener
  const gateOptions: GateOptions = {
    tokens,
    servers,
    registry,
    keys: store.keys,
    usage,
    evidence,
    activity,
    fold,
    limits,
    now,
    standing,
    hosts: [new URL(consoleUrl).hostname, ...config.allowHosts],
    origins: config.allowOrigins,
    trustedProxies: config.trustedProxies,
    publicUrl: new URL(gateUrl),
    call,
    placement,
    onUpstreamError: (server, error) =>
      log.debug({ server: server.name, err: error }, 'the server behind the gate failed'),
    onAnswered: (server, failed) => health.answered(server.id, failed),
  }
  const gate = new Gate(gateOptions)
  const selfTest = new SelfTest({
    registry,
    keys: store.keys,
    store: new SelfTestStore(store, revocationStore, files.database),
    limits,
    now,
    everyMs: config.probeEveryMs,
    startUpstream: startTestUpstream,
    connect: (path, secret) => connectTo(listener.reached, path, secret),
    // The same in all but what it counts: that is nobody's, and goes with it.
    lend(server, own) {
      const hidden = new Gate({
        ...gateOptions,
        tokens: own,
        servers: new UpstreamIndex([server]),
        usage: new UsageMeter(),
        evidence: new Evidence({ evidenceOf: () => new Map(), putEvidence() {} }, limits),
        activity: new Activity(limits),
        fold: new Fold(limits.foldKeysMax),
        onUpstreamError() {},
        onAnswered() {},
      })
      gate.hide(`/s/${server.name}/`, hidden)
      return () => {
        gate.unhide()
        hidden.stop()
      }
    },
    onTurned: ({ ok, step, message }) => {
      if (ok) log.info({}, 'the test of a revocation passes again')
      else log.error({ step, found: message }, 'the test of a revocation failed: this node is not ready')
    },
    onError: (error) => log.error({ err: error }, 'the test of a revocation could not be done'),
  })
  const pulse = new Pulse(limits, now, () => ({
    connections: registry.size,
    requests: gate.counts.requests,
    refusals: [...gate.counts.refusals.values()].reduce((sum, count) => sum + count, 0),
    deadTries: gate.counts.deadTries,
  }))
  const problems = (): string[] =>
    [
      emergency.problem ?? store.log.problem(),
      verifier.problem,
      selfTest.problem(),
      standing.unfit && UNFIT_PROBLEMS[standing.unfit],
    ].filter((problem) => problem !== null)
  const loop = new LoopDelay(limits)
  const metrics = createMetrics({
    revocations,
    selfTest,
    registry,
    servers,
    stdio,
    health,
    gate: gate.counts,
    cluster,
    clusterMeasures,
    tokens: () => tokens.size,
    writes: store.log.writes,
    emergency,
    journal,
    receipts,
    fold,
    access,
    sessions: access.sessions,
    verifier,
    loop,
    limits,
    version,
    auditSequence: () => store.log.head.sequence,
    backupAt: () => backups.lastAt(),
    sizes: () => sizesOf(config.data),
    openFilesMax: openFilesLimit(),
    certificateEndsAt: () => listener.certificateEndsAt,
    ready: () => problems().length === 0,
  })
  const node: Node = {
    id: store.node,
    version,
    config,
    gateUrl,
    consoleUrl,
    listening: listener.bound,
    startedAt: now(),
    limits,
    now,
    tokens,
    names,
    servers,
    registry,
    search: new Search({ tokens, names, servers, registry, ring: store.keys, apiKeys, limits, now }),
    revocations,
    control,
    issuance,
    access,
    apiKeys,
    keys,
    usage,
    evidence,
    activity,
    sightings,
    pulse,
    attention: () => attention.find(),
    fold,
    emergency,
    cluster,
    answers,
    reads: {
      activityOf: (id, since) => activityStore.rowsOf(id, since, limits.activityRowsSlice),
      totalsOf: (ids) => usageStore.totalsOf(ids),
      usageHistory: (id, window) =>
        usageHistory(window, now(), (since, bucketMs) => usageStore.bucketsOf(id, since, bucketMs), usage.pending(id)),
      receipt: (id) => receipts.find(id),
      receipts: (limit, after) => revocationStore.page(limit, after),
      receiptConnections: (id, limit, after) => revocationStore.connections(id, limit, after),
      auditOf: (receipt) => revocationStore.auditOf(receipt),
      triesOf: (receipt) => triesOf(receipt, evidence, limits),
      audit: (query) => auditSearch.page(query),
      auditRow: (sequence) => auditStore.row(sequence),
      auditRows: (filter) => auditSearch.rows(filter),
      auditActors: () => auditSearch.actors(),
      auditActions: () => auditSearch.actions(),
      auditHead: () => store.log.head,
    },
    health,
    stdio,
    placement,
    selfTest,
    verify: (given) => verifier.verify(given),
    get verification() {
      return verifier.last
    },
    checkpoint: () => {
      const statement = { database: store.database, node: store.node, ...store.log.head, at: formatTime(now()) }
      return signCheckpoint(statement, store.keys)
    },
    backup: (actor) => backups.make(actor),
    get backupAt() {
      return backups.lastAt()
    },
    problems,
    metrics,
    log,
  }
  chmodSync(files.socket, 0o600)
  // One stream's defect must not end all the others.
  process.on('unhandledRejection', (error) =>
    log.error({ err: error }, 'a promise was rejected that nobody waited for'),
  )
  process.on('SIGHUP', () => {
    const done = (error: unknown) => {
      if (error) log.error({ err: error }, 'the certificates could not be read again; the old ones stay')
      else log.info({}, 'certificates were read again')
    }
    try {
      listener.reload(reread().tls, done)
    } catch (error) {
      done(error)
    }
  })
  // Clients are let in first: what the console is made of takes as long to load as all the rest. The loop turns between
  // its parts, its sockets included, so that nobody waits for all of it.
  await clustered?.start()
  listener.serveGate(gate.handlers)
  await Bun.sleep(1)
  const { createApi } = await import('./server/app.ts')
  await Bun.sleep(1)
  const { createPages } = await import('./server/pages/pages.ts')
  await Bun.sleep(1)
  const api = createApi(node)
  const socket = socketDoor(node, api)
  await Bun.sleep(1)
  const pages = createPages(node)
  await rehearse(socket, revocationStore, log)
  health.start()
  pulse.start()
  loop.start()
  verifier.start()
  selfTest.start()

  // In the background: what this knows is for a look at the console, and a start must not wait for it.
  let stopping = false
  const recallSightings = async () => {
    await Bun.sleep(2)
    const slices = activityStore.sightingsSince(now() - limits.sightingsMs, limits.sightingsSlice)
    for (const slice of slices) {
      for (const sighting of slice) sightings.note(sighting)
      await Bun.sleep(2)
      if (stopping) return
    }
  }
  recallSightings().catch((error: unknown) =>
    log.warn({ err: error }, 'the addresses of the last day could not be read'),
  )

  const upkeep = new Upkeep({
    flush(at) {
      usage.flush(usageStore, at)
      activity.flush(activityStore, at)
      evidence.flush()
      fold.flush(auditStore)
    },
    *prune(before, minutesBefore) {
      yield* usageStore.prune(before, minutesBefore)
      yield* sightings.prune()
      yield* activityStore.prune(before, minutesBefore)
      answers.prune()
    },
    limits,
    now,
    onFailed: (error, what) =>
      log.warn({ err: error }, what === 'flush' ? 'usage could not be written' : 'old usage could not be pruned'),
  })
  upkeep.start()

  const stop = async () => {
    stopping = true
    selfTest.stop()
    await listener.drain(
      () => [...registry.all()].every((connection) => connection.kind !== 'request'),
      limits.shutdownMs / 2,
    )
    // What is left of the time is theirs; those who take longer die with the node.
    await stdio.stop(limits.stdioShutdownMs)
    clustered?.stop()
    gate.stop()
    health.stop()
    pulse.stop()
    verifier.stop()
    loop.stop()
    registry.stop()
    emergency.flush()
    emergency.stop()
    upkeep.stop()
    listener.close()
    journal.close()
    store.close()
    rmSync(files.socket, { force: true })
    unlock?.()
  }
  const { connectionsMax } = registry
  if (connectionsMax < limits.connectionsWarnMax) {
    const todo = 'raise LimitNOFILE= in the unit of systemd, or `ulimit -n`'
    log.warn(
      { openFiles: openFilesLimit(), connectionsMax },
      `few files may be open at once, so few connections: ${todo}`,
    )
  }
  // Last, so that whoever gets an answer finds it ready, and what serve prints printed.
  listener.serveConsole({ console: consoleDoor(node, api, pages), socket })
  log.info({ gate: gateUrl, console: consoleUrl, data: config.data, node: store.node }, 'portcullis is ready')
  return { node, stop }
}

/**
 * The first kill of a process is the one that counts, and took 9 ms where the next took 1: routes are
 * compiled and pages read on the way. So one is done at the start, of nothing, and not committed.
 */
const rehearse = async (
  socket: (request: Request) => Promise<Response>,
  store: RevocationStore,
  log: Logger,
): Promise<void> => {
  try {
    const body = JSON.stringify({ issuedBefore: formatTime(0), dryRun: true, reason: 'other' })
    const headers = { 'content-type': 'application/json' }
    await socket(new Request('http://localhost/api/v1/revocations', { method: 'POST', headers, body }))
    store.rehearse()
  } catch (error) {
    log.debug({ err: error }, 'the rehearsal failed; the first revocation may take some milliseconds longer')
  }
}

/**
 * Waits for SIGTERM or SIGINT, then stops, once the start is through. Resolves to the exit code. Asked for before anybody
 * can have been answered, which is when a start first waits.
 */
const untilStopped = (starting: Promise<Running>, log: Logger): Promise<number> =>
  new Promise((resolve) => {
    let stopping = false
    const end = (signal: string) => {
      if (stopping) return
      stopping = true
      log.info({ signal }, 'stopping')
      setTimeout(() => process.exit(0), limits.shutdownMs - 500).unref()
      starting
        .then(({ stop }) => stop())
        .then(
          () => resolve(0),
          (error: unknown) => {
            log.error({ err: error }, 'stopping failed')
            resolve(1)
          },
        )
    }
    process.on('SIGTERM', () => end('SIGTERM'))
    process.on('SIGINT', () => end('SIGINT'))
  })

/** With a full disk a node must still start: then the link waits for `portcullis setup`. */
const setupLine = (node: Node): string => {
  try {
    return `Setup    ${node.consoleUrl}${node.access.setupLink(SYSTEM).path}  (good for an hour, once)\n`
  } catch (error) {
    return `Setup    no link could be made: ${messageOf(error)}\n`
  }
}

/** Said before the key file is lost, since afterwards it is too late. */
const backupLine = ({ config: { keyFile } }: Node): string =>
  `Keys     ${keyFile}  (without it no token can be checked. No backup yet: portcullis backup FILE)\n`

/** Root who types `portcullis serve` means the service: a node of root's own would be an empty one on the same ports. */
const isService = process.getuid?.() === 0 && existsSync(SERVICE_UNIT)

const serve = async (argv: string[]): Promise<number> => {
  const load = () => loadConfig(argv, env, process.stderr.isTTY)
  const config = load()
  if (isService && config.data === defaultDataFolder(env)) {
    throw invalid('Portcullis is a service here: sudo systemctl start portcullis. For another one: --data DIR')
  }
  const log = createLogger(config.logLevel, config.logFormat)
  const starting = start(config, log, load)
  const stopped = untilStopped(starting, log)
  const { node } = await starting
  process.stdout.write(`Gate     ${node.gateUrl}\nConsole  ${node.consoleUrl}\n`)
  if (node.backupAt === null) process.stdout.write(backupLine(node))
  // A member learns its owners from the others; `portcullis setup` makes a link where there are none.
  if (!node.access.hasOwner && !node.cluster.clustered) process.stdout.write(setupLine(node))
  return stopped
}

const demo = async (argv: string[]): Promise<number> => {
  const load = () => loadConfig(argv, env, process.stderr.isTTY, `${defaultDataFolder(env)}-demo`)
  const config = load()
  const log = createLogger(config.logLevel === 'info' ? 'warn' : config.logLevel, config.logFormat)
  const starting = start(config, log, load)
  const stopped = untilStopped(starting, log)
  const { node } = await starting
  const { runDemo } = await import('./demo/demo.ts')
  const { startDemoUpstream } = await import('./demo/upstream.ts')
  const embedded = process.argv[1]?.includes('$bunfs')
  const view = runDemo(node, startDemoUpstream(), embedded ? 'portcullis' : 'npm run -s portcullis --')
  const code = await stopped
  view.stop()
  return code
}

const verifyOffline = async (file: string, checkpoint: string | null, options: { data?: string }) => {
  const { verifyFile } = await import('./worker/verify.ts')
  const startedAt = performance.now()
  if (!existsSync(file)) throw invalid(`--db ${file}: there is no such file`)
  const config = loadConfig(options.data ? ['--data', options.data] : [], env, false)
  const ring = existsSync(config.keyFile) ? readKeyFile(config.keyFile) : null
  const expected = []
  if (checkpoint !== null) {
    let given: Checkpoint
    try {
      given = JSON.parse(readFileSync(checkpoint, 'utf8')) as Checkpoint
    } catch (error) {
      throw invalid(`--checkpoint ${checkpoint}: ${messageOf(error)}`)
    }
    const own = ring && ring.database === given.database ? new KeyRing(ring) : null
    expected.push(headOfCheckpoint(given, null, own))
  }
  let result
  try {
    result = verifyFile({ file, expected })
  } catch (error) {
    throw invalid(`--db ${file}: ${messageOf(error)}`)
  }
  const tookMs = Math.round((performance.now() - startedAt) * 1000) / 1000
  return { ...result, ok: result.status === 'intact', checkedAt: formatTime(now()), tookMs }
}

const mayWrite = (folder: string): boolean => {
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

const restore: Hooks['restore'] = async (file, options) => {
  const { openBackup } = await import('./store/archive.ts')
  const { goBack, isDatabase } = await import('./store/going-back.ts')
  const { keyFileNamedIn, restoreBackup } = await import('./store/restore.ts')
  // What is lost, or put aside, is not there: so where there is a service, root means its folder all the same.
  const found = isService ? SERVICE_DATA : defaultDataFolders().find((folder) => existsSync(folder))
  const data = options.data ?? env.PORTCULLIS_DATA ?? found
  const argv = [...(data ? ['--data', data] : []), ...(options.keyFile ? ['--key-file', options.keyFile] : [])]
  if (data && existsSync(data) && !mayWrite(data)) {
    throw new AppError('forbidden', `--data ${data}: permission denied; type: ${options.sudo(data)}`)
  }
  const { data: folder, keyFile } = loadConfig(argv, env, false)
  const actor = `local:${process.getuid?.() ?? 'unknown'}`
  const whileStopped = (put: (given: RestoreOptions) => Restored): Restored => {
    becomeOwnerOf(folder)
    makeFolder(folder)
    const unlock = lockFolder(folder)
    try {
      const { wholeCluster, alone: goesAlone } = options
      return put({ folder, keyFile, version: version.version, actor, now, wholeCluster, alone: goesAlone })
    } finally {
      unlock()
    }
  }
  // A copy of before an upgrade, and no backup
  if (isDatabase(file)) return whileStopped((given) => goBack(file, given))
  const backup = openBackup(file)
  try {
    const named = keyFileNamedIn(backup, folder)
    if (named !== null && resolve(named) !== keyFile && !options.keyFile && !env.PORTCULLIS_KEY_FILE) {
      throw invalid(`${file}: its settings keep the keys in ${named}: add --key-file ${named}, or another place`)
    }
    return whileStopped((given) => restoreBackup(backup, given))
  } finally {
    backup.close()
  }
}

const defaultDataFolders = () => [defaultDataFolder(env), SERVICE_DATA]

// Whatever is made, by whatever command, is for this user alone.
process.umask(0o077)

const hooks: Hooks = {
  serve,
  demo,
  restore,
  async doctor({ data = env.PORTCULLIS_DATA, sudo }) {
    const { doctor } = await import('./doctor/doctor.ts')
    return doctor({
      version: version.version,
      folders: data ? [resolve(data)] : defaultDataFolders(),
      filesOf,
      settingsOf: (folder) => loadConfig(['--data', folder], env, false),
      readKeyFile,
      limits,
      now,
      sudo,
    })
  },
  verifyOffline,
  version,
  defaultDataFolders,
}

// What is imported where it is used is needed by some commands alone: a node starts in half the time without it.
// No top-level await: the executable holds bytecode, which has none.
const argv = process.argv.slice(2)
void (startNode(argv, hooks) ?? import('./cli/program.ts').then(({ run }) => run(argv, hooks))).then((code) =>
  process.exit(code),
)
