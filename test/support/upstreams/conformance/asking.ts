import {
  CLIENT_CAPABILITIES_META_KEY,
  type ClientCapabilities,
  type CreateMessageRequestParams,
  type ElicitRequestFormParams,
  type InputRequest,
  type InputRequests,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
  type RequestStateCodec,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { says, type Tool, type Tools } from './tools.ts'

/**
 * Tools that ask the client for something. On 2026-07-28 the question is the result (SEP-2322), before it a
 * request to the client; the SDK makes one of the other, so that each tool is written once.
 */

type Field = Record<string, unknown>

/** Loosely typed, since one field is of the older form of enums, which the SDK's types no longer have. */
export const elicit = (
  message: string,
  properties: Record<string, Field>,
  required = Object.keys(properties),
): InputRequest =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties, required } as ElicitRequestFormParams['requestedSchema'],
  })

const sample = (text: string): InputRequest =>
  inputRequired.createMessage({
    messages: [{ role: 'user', content: { type: 'text', text } }] satisfies CreateMessageRequestParams['messages'],
    maxTokens: 100,
  })

const NAME = { name: { type: 'string' } }

/** What the client answered to `key`, as text; null when it did not, so that it is asked again. */
export const answerTo = ({ mcpReq }: ServerContext, key: string): string | null => {
  const response = inputResponse(mcpReq.inputResponses, key)
  if (response.kind === 'missing') return null
  if (response.kind === 'elicit') return `action=${response.action}, content=${JSON.stringify(response.content ?? {})}`
  if (response.kind === 'roots') return response.roots.map(({ uri }) => uri).join(', ')
  return JSON.stringify(response.result.content)
}

/** Asks all of `questions` until each is answered, and says the answers. */
const asking = (
  description: string,
  questions: (args: Record<string, unknown>) => InputRequests,
  { before = '', inputSchema, mint }: { before?: string; inputSchema?: Field; mint?: () => Promise<string> } = {},
): Tool => ({
  description,
  inputSchema,
  call: async (args, context) => {
    const inputRequests = questions(args)
    const answers = Object.keys(inputRequests).map((key) => answerTo(context, key))
    if (answers.includes(null)) return inputRequired({ inputRequests, requestState: await mint?.() })
    return says(before + answers.join('; '))
  },
})

/** SEP-1034: a default for each primitive type. */
const DEFAULTS = {
  name: { type: 'string', default: 'John Doe' },
  age: { type: 'integer', default: 30 },
  score: { type: 'number', default: 95.5 },
  status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', default: true },
}

const titled = (values: string[], titles: string[]) =>
  values.map((value, index) => ({ const: value, title: titles[index] }))

/** SEP-1330: the five forms of an enum. */
const ENUMS = {
  untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
  titledSingle: { type: 'string', oneOf: titled(['value1', 'value2'], ['First Option', 'Second Option']) },
  legacyEnum: { type: 'string', enum: ['opt1', 'opt2'], enumNames: ['Option One', 'Option Two'] },
  untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
  titledMulti: { type: 'array', items: { anyOf: titled(['value1', 'value2'], ['First Choice', 'Second Choice']) } },
}

const stringArgument = (name: string) => ({
  type: 'object',
  properties: { [name]: { type: 'string' } },
  required: [name],
})

export const askingTools = (state: RequestStateCodec<string>): Tools => {
  const mint = () => state.mint('asked')
  return {
    test_sampling: asking('Asks the client for a completion', ({ prompt }) => ({ llm: sample(String(prompt)) }), {
      before: 'LLM response: ',
      inputSchema: stringArgument('prompt'),
    }),
    test_elicitation: asking(
      'Asks the user who they are',
      ({ message }) => ({
        user: elicit(String(message), { username: { type: 'string' }, email: { type: 'string' } }),
      }),
      { before: 'User response: ', inputSchema: stringArgument('message') },
    ),
    test_elicitation_sep1034_defaults: asking(
      'Asks with defaults',
      () => ({ form: elicit('Check these', DEFAULTS, []) }),
      { before: 'Elicitation completed: ' },
    ),
    test_elicitation_sep1330_enums: asking('Asks with enums', () => ({ form: elicit('Choose', ENUMS, []) }), {
      before: 'Elicitation completed: ',
    }),
    test_streaming_elicitation: asking('Asks the user', () => ({ form: elicit('Who are you?', NAME) })),
    test_input_required_result_elicitation: asking('Asks the user for a name', () => ({
      user_name: elicit('What is your name?', NAME),
    })),
    test_input_required_result_sampling: asking('Asks for a completion', () => ({
      capital_question: sample('What is the capital of France?'),
    })),
    test_input_required_result_list_roots: asking('Asks for roots', () => ({
      client_roots: inputRequired.listRoots(),
    })),
    test_input_required_result_request_state: asking(
      'Asks, and gives its state along',
      () => ({ confirm: elicit('Please confirm', { ok: { type: 'boolean' } }) }),
      { before: 'state-ok: ', mint },
    ),
    test_input_required_result_tampered_state: asking(
      'Asks, and refuses a state that was altered',
      () => ({ confirm: elicit('Please confirm', { ok: { type: 'boolean' } }) }),
      { mint },
    ),
    test_input_required_result_multiple_inputs: asking(
      'Asks for three things at once',
      () => ({
        user_name: elicit('What is your name?', NAME),
        greeting: sample('Generate a greeting'),
        client_roots: inputRequired.listRoots(),
      }),
      { mint },
    ),
    test_input_required_result_multi_round: multiRound(state),
    test_input_required_result_capabilities: {
      description: 'Asks only for what the client can do',
      call: (_args, context) => {
        const { sampling, elicitation } = capabilitiesOf(context)
        if (answerTo(context, 'sampled') || answerTo(context, 'elicited')) return says('Answered')
        return inputRequired({
          inputRequests: {
            ...(sampling && { sampled: sample('Anything') }),
            ...(elicitation && { elicited: elicit('Anything?', NAME) }),
          },
        })
      },
    },
    // What the client did not declare, the SDK does not ask it.
    test_missing_capability: asking('Needs a client that can sample', () => ({ llm: sample('Anything') })),
  }
}

export const capabilitiesOf = ({ mcpReq }: ServerContext): ClientCapabilities => {
  // The SDK declares the envelope without a field.
  const envelope: { [CLIENT_CAPABILITIES_META_KEY]?: ClientCapabilities } | undefined = mcpReq.envelope
  return envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {}
}

/** Where it stands is in the state alone, as it must be on a revision without sessions. */
const multiRound = (state: RequestStateCodec<string>): Tool => ({
  description: 'Asks twice, one after the other',
  call: async (_args, context) => {
    const round = async (key: string, question: InputRequest): Promise<InputRequiredResult> =>
      inputRequired({ inputRequests: { [key]: question }, requestState: await state.mint(key) })
    const asked = context.mcpReq.requestState<string>()
    if (asked === 'step2' && answerTo(context, 'step2')) return says('Both were answered')
    if (asked === 'step2' || (asked === 'step1' && answerTo(context, 'step1')))
      return round('step2', elicit('Step 2: What is your favorite color?', { color: { type: 'string' } }))
    return round('step1', elicit('Step 1: What is your name?', NAME))
  },
})
