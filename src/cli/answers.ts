import type { Static } from '@sinclair/typebox'
import type {
  ApiKeyIssued,
  Cut,
  GateState,
  KeyRemoved,
  Link,
  OperatorCreated,
  ServerCreated,
  TokenFound,
} from '../server/api/schemas.ts'

/** The API's JSON, as types only: the command line never loads the server's code. */
export type {
  ActivityJson,
  ApiKeyJson,
  AuditRowJson,
  CheckpointJson,
  ClusteredJson,
  ClusterJson,
  ClusterTicketJson,
  ConnectionJson,
  ConnectJson,
  MemberRemovedJson,
  NodeJson,
  SelfTestJson,
  OperatorJson,
  PolicyJson,
  RevocationJson,
  RingKeyJson,
  ServerJson,
  SnippetJson,
  TokenIssuedJson,
  TokenJson,
  VerificationJson,
} from '../server/api/schemas.ts'

export type ApiKeyIssuedJson = Static<typeof ApiKeyIssued>
export type CutJson = Static<typeof Cut>
export type GateStateJson = Static<typeof GateState>
export type KeyRemovedJson = Static<typeof KeyRemoved>
export type LinkJson = Static<typeof Link>
export type OperatorCreatedJson = Static<typeof OperatorCreated>
export type ServerCreatedJson = Static<typeof ServerCreated>
export type TokenFoundJson = Static<typeof TokenFound>

/** A page of a list; merged lists have no next one. */
export interface Page<T> {
  items: T[]
  next: string | null
}
