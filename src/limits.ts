/**
 * Every limit of Portcullis, each with its reason. Sizes are bytes, times are milliseconds.
 * The gate and the services receive them, so that a test can go one past each in little time.
 */
export const limits = {
  // Gate
  /** A leaked token must not use up the node: other tokens keep most of `connectionsMax`. */
  connectionsPerTokenMax: 10_000,
  /** About 20 KiB a stream: 50,000 fit in 1 GiB. Open files may lower it, see `connectionsFor`. */
  connectionsMax: 50_000,
  /** Uploads flow through; this only ends those that never do. */
  requestBodyBytesMax: 128 * 1024 * 1024,
  /** A body that stops arriving holds a connection and an upstream request. */
  requestBodyIdleMs: 60_000,
  /** The body of a request that is refused: up to this it is taken in, so that a proxy gets the answer. */
  unreadBodyBytesMax: 1024 * 1024,
  unreadBodyMs: 1_000,
  /** JSON-RPC requests above this pass unread, and their cut is a reset. */
  rpcBodyBytesMax: 1024 * 1024,
  /** Ids remembered of one batch; a longer batch is cut by a reset. */
  rpcIdsMax: 1_000,
  /** Ids of requests that are remembered until they are answered: those of SDKs are numbers, or UUIDs. */
  rpcIdLengthMax: 1_000,
  /** JSON nested deeper is not read under a policy: to write it again takes the stack a frame a level. */
  rpcDepthMax: 200,
  /** A whole answer up to this is sent with its length; a larger one is streamed. */
  wholeBodyBytesMax: 64 * 1024,
  /** An unfinished event is held back up to this, then flows on. */
  eventTailBytesMax: 64 * 1024,
  /** OpenAI's own clients wait ten minutes for an answer to begin. */
  upstreamHeadersMs: 600_000,
  /** One timer for all requests and streams that wait for something: they see so much time pass at once. */
  beatMs: 1_000,
  /**
   * A connection on which nothing is under way: strangers must not hold all there may be. Proxies keep theirs for up to two
   * minutes (Caddy), and the runtime takes no more than 255 s.
   */
  idleConnectionMs: 240_000,
  /** Proxies drop what is silent for 30 s or more; Cursor after 305 s. */
  keepAliveMs: 15_000,
  /** A silent event stream opens with a comment after this; most say something of their own by then. */
  streamOpenMs: 20,
  /** Paths deeper than this are matched in their normal form only. */
  pathSegmentsMax: 32,
  /** MCP sessions bound to tokens; the least recently used without a stream makes room. */
  sessionsPerTokenMax: 1_000,
  sessionsMax: 50_000,
  sessionIdBytesMax: 1024,
  /** Upstream clean-up after a cut: so many at once, so that the loop stays free. */
  cancelSlice: 200,
  upstreamCloseMs: 5_000,
  probeMs: 5_000,
  /** Servers are looked at so often, give or take a tenth, and so many at once, of URLs and of commands each. */
  healthIntervalMs: 300_000,
  healthTickMs: 1_000,
  looksMax: 4,
  /** HTTP+SSE announces its endpoint first of all; a stream that does not is something else. */
  endpointMs: 1_000,
  /** What a look at a server reads of it, in all: parsing more at once would hold up a revocation. */
  introductionBytesMax: 2 * 1024 * 1024,
  /** A list of tools that is longer, or never ends, is not taken. */
  toolPagesMax: 32,
  toolsMax: 2_000,
  /** An answer that a policy must read (a list of tools, an event) is held whole up to this. */
  policyAnswerBytesMax: 4 * 1024 * 1024,
  /** Which tools are read-only is asked of a server again after this, and for a tool unknown, not sooner than that. */
  toolHintsMs: 300_000,
  toolHintsRetryMs: 2_000,
  /** Endpoints whose tools' annotations are remembered: `/s/{server}/…` may lead to many. */
  toolHintEndpointsMax: 1_000,

  // Servers that are commands
  /** Processes of all servers: 60 MiB each is usual for one on Node. */
  stdioProcessesMax: 256,
  /** A leaked token must not use them up. */
  stdioProcessesPerTokenMax: 32,
  /** What either may be set to: three pipes each, and one machine's memory. */
  stdioProcessesSettingMax: 10_000,
  /** Until the first answer: `npx -y` may have to fetch the server first. */
  stdioStartMs: 60_000,
  /** A process that nobody uses: people come back to an IDE after a break. */
  stdioIdleMs: 600_000,
  stdioIdleMsMax: 30 * 24 * 3_600_000,
  /** Where the limit is reached, one that was idle for so long makes room for a new one. */
  stdioEvictIdleMs: 5_000,
  /** Idle processes, and those of servers that were closed, removed or changed, are looked for so often while there are any. */
  stdioTickMs: 250,
  /** What a command that was tried, and not added, said on its standard error is kept for so long. */
  stdioForgetMs: 600_000,
  /** Of data, each process (`RLIMIT_DATA`): Node and Bun need half of it to start, and small programs do with the least. */
  stdioMemoryBytes: 1024 * 1024 * 1024,
  stdioMemoryBytesMin: 64 * 1024 * 1024,
  /** One line is one message; answers may hold images. */
  stdioLineBytesMax: 16 * 1024 * 1024,
  /** Clients whose stream broke off come back after this: as soon as the SDK's do by themselves. */
  stdioRetryMs: 1_000,
  /** Lines of a process that are taken in one turn of the loop: somebody may be waiting to cut, and each takes some 50 µs. */
  stdioLinesPerTurn: 100,
  /** Values in a message: reading more of them would hold up a revocation. A text or an image is one, however long. */
  stdioValuesMax: 250_000,
  /** The body of a POST, as the SDK's own servers have it: parsing more at once would hold up a revocation. */
  stdioBodyBytesMax: 4 * 1024 * 1024,
  /** Messages on their way to a process that does not read them. */
  stdioInputBytesMax: 16 * 1024 * 1024,
  /** From closing its input and SIGTERM to SIGKILL. */
  stdioGraceMs: 2_000,
  /** The same when the node stops: it ends within `shutdownMs`, and requests had half of that. */
  stdioShutdownMs: 1_000,
  /** Processes that a server started, and that are looked for beyond its group when it ends: each is two files to read. */
  stdioDescendantsMax: 256,
  /** What a process said last is in its pipes when it has ended; one that left its group may hold them open. */
  stdioDrainMs: 500,
  /** After a crash: the first wait, doubled with each further one up to the most. */
  stdioBackoffMs: 1_000,
  stdioBackoffMsMax: 30_000,
  /** A life that was shorter than this, and that nobody ended, counts for the crash loop; so many in a row close the server. */
  stdioShortLifeMs: 10_000,
  stdioCrashesMax: 5,
  /** What was asked of one process without a session and is not answered yet; sessions keep nothing of it. */
  stdioWaitingBytesMax: 64 * 1024 * 1024,
  /** What a slow client has not read yet; then its process is not read either. */
  stdioUnreadBytesMax: 1024 * 1024,
  /** All clients of all commands together; above it the one that has waited for longest is let go. */
  stdioUnreadBytesInAllMax: 256 * 1024 * 1024,
  /** A shared process does not wait for a slow client: above that, one is given so much more, and then ended. */
  stdioBehindBytesMax: 4 * 1024 * 1024,
  /** Each change is told to all sessions of a shared process, which may be a thousand: of more in that time, the last. */
  stdioChangeMs: 100,
  /** Resources that one session of a shared process hears of. */
  stdioSubscriptionsMax: 1_000,
  /** Until a command says whether it speaks 2026-07-28: it may have to be fetched first, and clients wait half a minute. */
  stdioDiscoverMs: 25_000,
  /** Nothing, or an end, is no clear answer to that, so it is asked again later. */
  stdioDiscoverAgainMs: 60_000,
  /** Events kept for a client that resumes (Last-Event-ID), of each session. */
  stdioEventsMax: 1_000,
  stdioEventBytesMax: 4 * 1024 * 1024,
  /** The same of all sessions: a shared process has thousands, of one token too. */
  stdioEventBytesInAllMax: 64 * 1024 * 1024,
  /** Lines of standard error: to the log, so many a second and at once; kept for the console. */
  stdioStderrLinesPerSecond: 10,
  stdioStderrBurst: 100,
  stdioStderrLineLengthMax: 2_000,
  stdioStderrTailMax: 200,
  /** Of them, the newest on a page: with all of it escaped the page stays at about 100 KB. */
  stdioStderrCharactersShownMax: 20_000,
  /** Above it a process waits with what it says there, so that reading it takes no core of ours. */
  stdioStderrBytesPerSecond: 1024 * 1024,
  stdioCommandLengthMax: 4_000,
  stdioEnvMax: 100,
  /** Each is a mount, made anew for each process. */
  stdioAllowMax: 100,
  stdioEnvValueLengthMax: 32 * 1024,

  // Domain
  nameLengthMax: 100,
  textLengthMax: 1_000,
  serversMax: 1_000,
  serversPerTokenMax: 100,
  toolPatternsMax: 100,
  /** MCP 2025-11-25 allows names of 128 characters. */
  toolNameLengthMax: 128,
  /** The times of a minute's calls are remembered, eight bytes each. */
  callsPerMinuteMax: 10_000,
  headersPerServerMax: 32,
  headerValueBytesMax: 8 * 1024,
  revocationTokensMax: 1_000,
  /** What died is written in slices, each a commit of about two milliseconds. */
  receiptConnectionsSlice: 500,
  /** While the disk is full, what died waits in memory, about 150 bytes each: past this, only how many. */
  receiptConnectionsWaitingMax: 200_000,
  rotationGraceMsMax: 7 * 24 * 3_600_000,
  expiryMsMax: 10 * 365 * 24 * 3_600_000,
  keysMax: 8,
  /** Timers are re-armed at least this often: the wall clock may have been set in between. */
  deadlineTimerMs: 10_000,

  // Evidence and usage
  usageFlushMs: 60_000,
  pruneEveryMs: 3_600_000,
  usageRetentionMs: 30 * 24 * 3_600_000,
  evidenceAddressesMax: 100,
  /** Rows of activity that one token can cause in a day: tools, addresses and clients are for clients to invent. */
  activityKeysPerTokenMax: 500,
  /** Calls whose row is found at once by what was said: a few MiB at the most. */
  callsKnownMax: 10_000,
  callLengthMax: 500,
  /** Minutes of activity older than this are put together to hours. */
  activityMinutesMs: 24 * 3_600_000,
  /** Rows read in one go, so that the loop stays free. */
  activityRowsSlice: 500,
  foldKeysMax: 10_000,
  /** Tokens of a revocation whose tries are read in one go, and addresses told apart on the way. */
  triesTokensSlice: 25,
  triesAddressesMax: 10_000,
  /** The busiest addresses on a receipt. */
  triesAddressesShownMax: 20,

  // Audit
  /** A read gives the loop a turn after this: a revocation waits no longer for it. */
  auditSliceMs: 2,
  /** Rows, or names, looked at in one statement: about a millisecond. */
  auditRowsSlice: 1_000,
  /** Where a part of a name is that of more targets, rows are looked at one after the other. */
  auditNamesMax: 500,
  /** Actors and actions to choose from; actors can be named by whoever may use the socket. */
  auditChoicesMax: 500,
  /** Rows of an export that are made at once: about a millisecond, for which a revocation may have to wait. */
  auditExportSlice: 80,
  /** The charts of what is alive now: ten minutes, in slots that still move while one looks. 60 s must hold whole slots. */
  pulseSlotMs: 5_000,
  pulseSlots: 120,
  /** Where a token was used from is remembered for a day. A crowd of addresses tells no more than that it is one. */
  sightingsMs: 24 * 3_600_000,
  sightingAddressesMax: 50,
  /** A start reads a day of activity beside the requests that come: with 500 rows it held the loop for 12 ms now and then. */
  sightingsSlice: 200,
  clientNameLengthMax: 200,

  // What needs a look
  /** Nobody misses a token that was not used for so long. */
  unusedMs: 30 * 24 * 3_600_000,
  /** Time enough to make another before it expires. */
  expiresSoonMs: 7 * 24 * 3_600_000,
  /** A person has a laptop, a phone, an office and a train; a token that leaked has more in a day. */
  manyAddresses: 5,
  attentionMs: 60_000,
  /** After a change it is looked at sooner, but not for each of many changes. */
  attentionAfterChangeMs: 2_000,
  /** Nor again before so many times what it took: a million tokens take a third of a second. */
  attentionRestTimes: 20,
  /** Tokens looked at in one go: a millisecond or two. */
  tokensSlice: 1_000,
  /** A look at all tokens gives the loop a turn after this: a revocation waits no longer for it. */
  tokensHoldMs: 4,

  // Verification of the audit log
  /** Not at once: a start has other things to do. */
  verifyAfterStartMs: 60_000,
  verifyEveryMs: 24 * 3_600_000,
  /** Each reads the whole log, and they wait for each other. */
  verificationsMax: 16,

  // Console
  consoleBodyBytesMax: 1024 * 1024,
  pageSizeMax: 1_000,
  pageSizeDefault: 100,
  /** Lines in each list of a token's page: it stays at about 100 KB with the longest names. JSON and CSV have all. */
  activityLinesShownMax: 20,
  /** What to paste takes 5 KB a server: so many at once, and a page stays below 100 KB. */
  snippetServersMax: 15,
  /** Of a token's live connections and of its history, on its page. */
  tokenLinesShownMax: 20,
  /** More servers than these are typed into a filter, not chosen from. */
  serverChoicesMax: 50,
  /** Of each kind in the palette: more than one screen is not read at three in the morning. */
  foundPerKindMax: 6,
  /** Rows on a page of the console: it stays below 100 KB, and a row takes the loop 0.1 ms every two seconds. */
  rowsShownMax: 50,
  /** Of each list where a page holds three of them. */
  rowsBesideOthersMax: 20,
  /** Live connections on a server's own page; all of them have a page. */
  serverConnectionsShownMax: 20,
  /** Servers that an opening of all is told to open by name: a screenful. */
  closedShownMax: 20,
  /** The overview is one screen: what is not well stands first. */
  overviewServersMax: 8,
  overviewEventsMax: 8,
  /** Rows of strangers that say the same become one event, out of so many. */
  overviewEventsReadMax: 50,
  /** Names in a line, before "and so many more". */
  namesShownMax: 3,
  /** A node with more tokens is past its first run; whether one was ever used is looked up for so many. */
  firstRunTokensMax: 5,
  /** Names to choose from in a form, of each kind; any other can be typed. */
  namesOfferedMax: 100,
  /** What the project promises for the last cut of a revocation, with 1,000 connections: a receipt says if it held. */
  cutPromisedMs: 40,
  /** Nodes hear of each other's acks with their next digests: only what is not complete for longer is told over every page. */
  ackToldMs: 2_000,
  /** A receipt changes most at first: peers, cancelled requests, tries. So it is fetched more often while it is new. */
  receiptNewMs: 600_000,
  idempotencyMs: 24 * 3_600_000,
  idempotencyKeysMax: 10_000,
  idempotencyKeyLengthMax: 255,
  setupLinkMs: 3_600_000,
  sessionIdleMs: 12 * 3_600_000,
  sessionMs: 7 * 24 * 3_600_000,
  operatorSessionsMax: 1_000,
  signInTriesMax: 10,
  signInWindowMs: 15 * 60_000,
  signInAddressesMax: 10_000,
  passwordLengthMin: 10,
  passwordLengthMax: 1_000,
  /** argon2id takes 64 MiB each: more at once would exhaust a small machine. */
  passwordHashesMax: 2,
  /** A revocation is answered when all peers have acked, or after this: a peer over an ocean takes a fifth of a second. */
  ackWaitMs: 250,
  ackWaitMsMax: 60_000,
  /** In the format of a backup a file's size has eleven octal digits. */
  backupBytesMax: 8 * 1024 ** 3 - 1,
  /** Of the database's size, to be free before it is migrated: the copy, the indexes that are built, and these in the -wal. */
  upgradeRoomFactor: 2,
  /** The copy that a backup is made from must leave the database some room to grow meanwhile. */
  backupReserveBytes: 16 * 1024 * 1024,
  /** Who takes nothing of a backup for so long is gone; until then nobody else gets one, and the copy takes room. */
  backupIdleMs: 60_000,
  backupSliceBytes: 256 * 1024,
  /** Whoever writes a backup beside its node syncs it in such parts: a revocation's own sync waits behind them. */
  backupSyncBytes: 8 * 1024 * 1024,
  /** The copy's room is given back in such parts: a few milliseconds each, for which a commit may have to wait. */
  backupTruncateBytes: 16 * 1024 * 1024,

  // Doctor
  /** Below this a full disk is near, and then only revoking, killing and closing work. */
  freeBytesMin: 100 * 1024 * 1024,
  freeInodesMin: 1_000,
  /** Above this an fsync decides how fast a revocation is: SD cards, network file systems. */
  fsyncMsMax: 10,
  /** SQLite empties its log at 4 MiB; this much means that somebody keeps it from doing so. */
  walBytesMax: 64 * 1024 * 1024,
  /** The database is checked table by table until so much time is gone; a million rows take about a second. */
  databaseCheckMs: 10_000,
  databaseCheckRowsMax: 2_000_000,
  /** What hangs must not hang the doctor: a node, a server behind the gate, a command of the system. */
  doctorAnswerMs: 3_000,
  /** Servers that are connected to at once. */
  doctorConnectsMax: 50,
  /** Findings of one kind; the rest are counted. */
  doctorFindingsMax: 20,
  /** Settings and key files are far smaller: what is larger is something else. */
  smallFileBytesMax: 1024 * 1024,
  /** Certificates of ours are usually renewed 30 days before they end: three weeks before, that has failed. */
  certificateMs: 21 * 24 * 3_600_000,
  serverCertificateMs: 14 * 24 * 3_600_000,
  /** Rows of the audit log are newer than now only where the clock was set back; clocks are set by seconds all the time. */
  clockAheadMs: 60_000,
  /** A file for the moment that is so old was left by something that crashed. */
  leftOverMs: 3_600_000,
  /** A soft limit of 1,024 open files, the usual one of a shell, allows 480 connections. */
  connectionsWarnMax: 1_000,

  // Test of itself
  /** A test takes a few milliseconds. What takes so long hangs. */
  selftestMs: 5_000,
  /** Of that, for the end of the stream, and for the server to be let go: the steps after them still have time. */
  selftestEndMs: 1_500,
  /** Not at once: a start has other things to do. */
  selftestAfterStartMs: 5_000,
  selftestEveryMsMin: 1_000,
  selftestEveryMsMax: 24 * 3_600_000,
  /** After a failure, until it passes; sooner where somebody asks whether the node is ready. */
  selftestAgainMs: 5_000,
  selftestAgainMsMin: 1_000,
  /** Rows of the audit log about the node's own tests: at a turn of the verdict, and else one a day for all of them. */
  selftestTurnMs: 60_000,
  selftestRowMs: 24 * 3_600_000,
  /** Each waits for the one before it. */
  selftestsMax: 16,
  /** The fastest disk that keeps what was synced takes longer; memory, and ignored syncs, take a quarter of it. */
  selftestSyncMsMin: 0.05,

  // Cluster
  /** Changes of one node, pulled at once, that have a row each in the audit log; of more there is one row of counts. */
  catchUpRowsMax: 16,
  /** For so long after it last heard from a majority a node serves: a restart of the others takes a second or two. */
  leaseMs: 5_000,
  /** Below it a pause of a machine, or a wave on the network, would stop the gate. */
  leaseMsMin: 1_000,
  leaseMsMax: 60_000,
  /** Rows that a founding says anew in one commit: some milliseconds. */
  foundingRowsSlice: 100,
  /** Facts of before that a founding deletes in one commit: likewise. */
  factsForgottenSlice: 300,
  /** Tokens that one fact tells as dead of a revocation: 150 KB, and with the longest names and subjects less than a frame. */
  deadPerFactMax: 1_500,
  /** A frame between nodes: what is pulled at once stays far below, and who has proved nothing can make the node hold one. */
  clusterFrameBytesMax: 8 * 1024 * 1024,
  /** What is said before a link is sealed: keys and names. */
  clusterHelloBytesMax: 16 * 1024,
  /** Secrets of the cluster that a hello offers, the newest first: a node that was away knows only an older one. */
  clusterSecretsMax: 32,
  /** Who has connected proves who it is within this; a far node takes three round trips. */
  clusterHandshakeMs: 5_000,
  /** So many at once have proved nothing yet, each good for one frame of memory; behind one address live a few nodes. */
  clusterHandshakesMax: 32,
  clusterHandshakesPerAddressMax: 8,
  /**
   * Between two dials of a member, give or take a half, whether or not the one before was answered: the kernel itself asks ever
   * more seldom, and a node that was cut off must serve again within a second.
   */
  clusterRedialMs: 300,
  /** Dials of one member that are under way at once: a far node takes longer than that. */
  clusterDialsMax: 6,
  /** Digests come four times a second: who says nothing for so long can't be reached. */
  clusterSilentMs: 3_000,
  /** Of two links of one pair the other is read for so long, for what is on its way. */
  clusterLingerMs: 1_000,
  /** Silent links and dials that are due are looked for so often. */
  clusterBeatMs: 50,
  /** What a peer has not taken: it is given up, and pulls what it misses when it is back. */
  clusterBufferBytesMax: 32 * 1024 * 1024,
  /** NATS: a server that went is tried again, or the next one; a dead connection answers no ping. */
  natsRetryMs: 250,
  natsPingMs: 1_000,
  natsConnectMs: 5_000,
  /** A publication: what a server of NATS takes, unless it is told otherwise. What says less is given less. */
  natsPayloadBytes: 1024 * 1024,
  /** Frames of a peer that are known to have been lost, and are looked for in what JetStream keeps. */
  natsMissedMax: 10_000,
  /** JetStream keeps facts for nodes that are away for minutes; who is away for longer pulls them from its peers. */
  natsStreamAgeMs: 3_600_000,
  natsStreamBytesMax: 64 * 1024 * 1024,
  /** Without messages it is asked for more so often; after a failure, so long after it. */
  natsStreamExpiresMs: 5_000,
  natsStreamRetryMs: 1_000,
  /** A joiner waits for its membership to be in force: that takes a round trip to each member, or fails in ten seconds. */
  clusterJoinMs: 30_000,
  /** A machine that is on refuses at once; one that says nothing for so long may be on or off. */
  clusterRefusalMs: 1_000,
  /** Whoever joins asks again while nobody answers there. */
  joinRetryMs: 2_000,
  /** What is known is told so often; a lease outlives many of them. */
  digestMs: 250,
  /** Clocks of two machines drift by far less than this, which is waited for beyond a lease. */
  leaseGuard: 1.1,
  /** One answer to a pull, applied in one run of 10 to 20 ms; the next is asked for at once. */
  pullBytesMax: 512 * 1024,
  /** Under the policy `serve` a node whose peers all are away lets clients in after this. */
  syncGraceMs: 3_000,
  changeTimeoutMs: 10_000,
  /** Who asked for a change of members hears by then, whatever became of it: `replace` is two changes. */
  clusterChangeMs: 25_000,
  /** Revocations that are watched until they are complete; the oldest of more are looked at when one of these is. */
  openRevocationsMax: 10_000,
  /** Answers under way to one who asks for facts: a round trip of 40 ms must not hold up healing. */
  clusterPullsMax: 4,
  /** Who has not answered for so long is not waited for: facts are asked of another. */
  clusterPullMs: 1_000,
  /** Changes of members that can still be asked for, removed members that are not listened to. */
  clusterOutcomesMax: 100,
  clusterGoneMax: 1_000,
  /** Revocations of which is remembered when each peer acked, and how many connections it cut. */
  ackedRevocationsMax: 1_000,
  /** Completed revocations handed on at once: each is a row to be written. */
  completedSlice: 500,
  incompleteShownMax: 20,
  /** A ticket goes from one screen to another; longer, and it lies around. */
  ticketMs: 600_000,
  ticketsMax: 100,
  /** Of a member's name and address, and of what else goes into a membership. */
  memberTextLengthMax: 1_000,
  /** Above it, links between all pairs are more than any machine wants. */
  membersMax: 100,
  /** Memberships of one view, as others read it. Each change adds one, and nobody needs many of them at once. */
  membershipsMax: 100,
  /** Where so many wait for one that was removed and can't be asked, only that it is off may be said. */
  membershipsWaitingMax: 50,

  // Process
  /** How late the loop is, is looked at so often: 0.1% of a core, and no delay above it goes unseen. */
  loopTickMs: 20,
  /** Its longest delay is remembered for so long: Prometheus comes every minute at the least. */
  loopMaxMs: 60_000,
  /** Handshakes under way when a certificate is replaced are over by then; until then the next one waits. */
  tlsHandoverMs: 2_000,
  journalBytes: 1024 * 1024,
  journalRetryMs: 1_000,
  shutdownMs: 5_000,
}

export type Limits = typeof limits

/** How many connections the open-file limit allows: each takes a socket to the client and one upstream. */
export const connectionsFor = (openFiles: number, max = limits.connectionsMax): number =>
  Math.max(16, Math.min(max, Math.floor((openFiles - 64) / 2)))
