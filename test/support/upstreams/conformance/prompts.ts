import { type ContentBlock, fromJsonSchema, inputRequired, type McpServer } from '@modelcontextprotocol/server'
import { answerTo } from './asking.ts'
import { PNG } from './samples.ts'

const user = (content: ContentBlock) => ({ role: 'user' as const, content })
const text = (value: string) => user({ type: 'text', text: value })

/** Arguments of prompts are strings, all of them wanted here. */
const strings = <Name extends string>(...names: Name[]) =>
  fromJsonSchema<Record<Name, string>>({
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, { type: 'string', description: `The ${name}` }])),
    required: names,
  })

export const registerPrompts = (server: McpServer): void => {
  server.registerPrompt('test_simple_prompt', { description: 'A message' }, () => ({
    messages: [text('This is a simple prompt for testing.')],
  }))
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'A message made of arguments', argsSchema: strings('arg1', 'arg2') },
    ({ arg1, arg2 }) => ({ messages: [text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)] }),
  )
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'A resource and what to do with it', argsSchema: strings('resourceUri') },
    ({ resourceUri }) => ({
      messages: [
        user({
          type: 'resource',
          resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' },
        }),
        text('Please process the embedded resource above.'),
      ],
    }),
  )
  server.registerPrompt('test_prompt_with_image', { description: 'An image and what to do with it' }, () => ({
    messages: [user(PNG), text('Please analyze the image above.')],
  }))
  server.registerPrompt('test_input_required_result_prompt', { description: 'Asks the user first' }, (context) => {
    const answer = answerTo(context, 'user_context')
    if (answer !== null) return { messages: [text(answer)] }
    return inputRequired({
      inputRequests: {
        user_context: inputRequired.elicit({
          message: 'What context should the prompt use?',
          requestedSchema: { type: 'object', properties: { context: { type: 'string' } }, required: ['context'] },
        }),
      },
    })
  })
  server.server.registerCapabilities({ completions: {} })
  server.server.setRequestHandler('completion/complete', ({ params }) => {
    const values = ['paris', 'park', 'party'].filter((value) => value.startsWith(params.argument.value))
    return { completion: { values, total: values.length, hasMore: false } }
  })
}
