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
  /** JSON-RPC requests above this pass unread, and their cut is a reset. */
  rpcBodyBytesMax: 1024 * 1024,
  /** Ids remembered of one batch; a longer batch is cut by a reset. */
  rpcIdsMax: 1_000,
  /** JSON nested deeper is not read under a policy: to write it again takes the stack a frame a level. */
  rpcDepthMax: 200,
  /** A whole answer up to this is sent with its length; a larger one is streamed. */
  wholeBodyBytesMax: 64 * 1024,
  /** An unfinished event is held back up to this, then flows on. */
  eventTailBytesMax: 64 * 1024,
  /** OpenAI's own clients wait ten minutes for an answer to begin. */
  upstreamHeadersMs: 600_000,
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
  /** Servers are looked at so often, give or take a tenth, and so many at once. */
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
  rotationGraceMsMax: 7 * 24 * 3_600_000,
  expiryMsMax: 10 * 365 * 24 * 3_600_000,
  keysMax: 8,
  /** Timers are re-armed at least this often: the wall clock may have been set in between. */
  deadlineTimerMs: 30_000,

  // Evidence and usage
  usageFlushMs: 60_000,
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
  clientNameLengthMax: 200,

  // Console
  consoleBodyBytesMax: 1024 * 1024,
  pageSizeMax: 1_000,
  pageSizeDefault: 100,
  /** Lines in each list of a token's page: it stays at about 100 KB with the longest names. JSON and CSV have all. */
  activityLinesShownMax: 20,
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
  ackWaitMsMax: 60_000,
  /** A backup is read into memory. */
  restoreBytesMax: 4 * 1024 ** 3,

  // Process
  journalBytes: 1024 * 1024,
  journalRetryMs: 1_000,
  shutdownMs: 5_000,
}

export type Limits = typeof limits

/** How many connections the open-file limit allows: each takes a socket to the client and one upstream. */
export const connectionsFor = (openFiles: number, max = limits.connectionsMax): number =>
  Math.max(16, Math.min(max, Math.floor((openFiles - 64) / 2)))
