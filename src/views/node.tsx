/** @jsxImportSource hono/jsx */
import { Copyable } from './copy.tsx'
import { Fact } from './fact.tsx'
import { type RingKeyCard, Ring } from './keys.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Time } from './time.tsx'
import { age, number } from './words.ts'

/** The test of a revocation. */
export interface SelfTestCard {
  /** Null: only when asked. */
  everyMs: number | null
  last: { at: string; ok: boolean; step: string | null; message: string | null; endSeenMs: number | null } | null
}

export interface NodeCard {
  id: string
  version: string
  commit: string | null
  builtAt: string | null
  startedAt: string
  uptimeMs: number
  gateUrl: string
  consoleUrl: string
  dataFolder: string
  keyFile: string
  tls: boolean
  trustedProxies: number
  problems: string[]
  selfTest: SelfTestCard
  /** How much there is of what has an end. */
  uses: { what: string; used: number; max: number }[]
  keys: RingKeyCard[]
  keysMax: number
  /** Keys, and the backup. */
  mayManage: boolean
  /** A restricted sign-in can't ask the API. */
  mayAsk: boolean
  notice: string | null
  backupName: string
  /** When a backup was last asked for; null: never. */
  backupAt: string | null
}

const State = ({ problems }: Pick<NodeCard, 'problems'>) =>
  problems.length === 0 ? (
    <span class="status active">ready</span>
  ) : (
    <>
      <span class="status closed">not ready</span>
      <ul>
        {problems.map((problem) => (
          <li>{problem}</li>
        ))}
      </ul>
    </>
  )

const SelfTest = ({ everyMs, last }: SelfTestCard) => (
  <>
    {last === null ? (
      <span class="quiet">not yet</span>
    ) : last.ok ? (
      <>
        <span class="status active">passed</span>
        {last.endSeenMs !== null && <> a stream ended after {Number(last.endSeenMs.toFixed(1))} ms</>}
      </>
    ) : (
      <>
        <span class="status closed">failed</span> at <code>{last.step}</code>: {last.message}
      </>
    )}
    <span class="detail">
      {last !== null && (
        <>
          <Time at={last.at} exact />,{' '}
        </>
      )}
      {everyMs === null ? 'only when asked' : `every ${number(everyMs / 1_000)} s`}: a hidden token is killed, none of
      yours
    </span>
  </>
)

const Now = ({ card: { problems, selfTest, startedAt, uptimeMs, uses } }: { card: NodeNow }) => (
  <section class="card" aria-labelledby="now-title">
    <h2 id="now-title">Now</h2>
    <dl>
      <Fact term="State">
        <State problems={problems} />
      </Fact>
      <Fact term="Test of a revocation">
        <SelfTest {...selfTest} />
      </Fact>
      <Fact term="Up">
        {age(uptimeMs)}{' '}
        <span class="quiet">
          since <Time at={startedAt} />
        </span>
      </Fact>
      {uses.map(({ what, used, max }) => (
        <Fact term={what}>
          {number(used)} <span class="quiet">of {number(max)}</span>
        </Fact>
      ))}
    </dl>
  </section>
)

/** What moves, and is fetched again and again: it costs little, and the rest of the page may not. */
export type NodeNow = Pick<NodeCard, 'problems' | 'selfTest' | 'startedAt' | 'uptimeMs' | 'uses'>

export const NodeLive = ({ frame, now }: { frame: Frame; now: NodeNow }) => (
  <Live frame={frame}>
    <Now card={now} />
  </Live>
)

const Itself = ({ card }: { card: NodeCard }) => (
  <section class="card" aria-labelledby="itself-title">
    <h2 id="itself-title">This node</h2>
    <dl>
      <Fact term="Version">
        {card.version}
        {card.commit !== null && (
          <span class="detail">
            <code>{card.commit}</code>
            {card.builtAt !== null && `, ${card.builtAt}`}
          </span>
        )}
      </Fact>
      <Fact term="Gate">
        <Copyable id="gate-url" what="the address of the gate">
          {card.gateUrl}
        </Copyable>
        <span class="detail">what clients connect to</span>
      </Fact>
      <Fact term="Console">
        <Copyable id="console-url" what="the address of the console">
          {card.consoleUrl}
        </Copyable>
        <span class="detail">what you look at; its people and programs only</span>
      </Fact>
      <Fact term="TLS">{card.tls ? 'yes, by this node' : 'not by this node'}</Fact>
      <Fact term="Trusted proxies">{card.trustedProxies === 0 ? 'none' : number(card.trustedProxies)}</Fact>
      <Fact term="Data folder">
        <code>{card.dataFolder}</code>
      </Fact>
      <Fact term="Key file">
        <code>{card.keyFile}</code>
      </Fact>
      <Fact term="Id">
        <code>{card.id}</code>
      </Fact>
    </dl>
  </section>
)

const Backup = ({ name, last }: { name: string; last: string | null }) => (
  <div class="card">
    <h2>Backup</h2>
    <p>
      {last === null ? (
        <strong>None was ever made: without the key file no token can be checked.</strong>
      ) : (
        <>
          Last asked for <Time at={last} />.
        </>
      )}
    </p>
    <p>
      One file of database, keys and settings, made while the node runs. <strong>Treat it as the key</strong>: who has
      it can read the credentials of every server, and knows all that this node knows. Secrets of tokens are not in it,
      only their hashes.
    </p>
    <p class="links">
      <a class="button" href="/api/v1/backup" download={name}>
        Download a backup
      </a>
    </p>
    <p class="hint">
      <code>portcullis restore FILE</code> brings it back, on a node that is stopped. What was revoked since stays
      revoked.
    </p>
  </div>
)

const Machines = ({ consoleUrl }: Pick<NodeCard, 'consoleUrl'>) => (
  <div class="card">
    <h2>For machines</h2>
    <ul>
      <li>
        <a href="/api/v1/openapi.json">openapi.json</a>: the API, all of it
      </li>
      <li>
        <a href="/metrics">metrics</a> for Prometheus: from this machine, or from elsewhere with an{' '}
        <a href="/access">API key</a>
      </li>
      <li>
        <a href="/readyz">readyz</a> and <a href="/healthz">healthz</a> for a load balancer
      </li>
    </ul>
    <p class="hint">
      All under <code>{consoleUrl}</code>.
    </p>
  </div>
)

export const NodePage = ({ frame, card }: { frame: Frame; card: NodeCard }) => (
  <Layout title="Node" frame={frame} refreshed>
    <h1>Node</h1>
    {card.notice !== null && (
      <p class="notice" role="status">
        {card.notice}
      </p>
    )}
    <div class="columns">
      <NodeLive frame={frame} now={card} />
      <Itself card={card} />
    </div>
    <Ring keys={card.keys} keysMax={card.keysMax} mayManage={card.mayManage} />
    {card.mayAsk && (
      <section class="columns" aria-label="Backup, and what machines read">
        {card.mayManage && <Backup name={card.backupName} last={card.backupAt} />}
        <Machines consoleUrl={card.consoleUrl} />
      </section>
    )}
  </Layout>
)
