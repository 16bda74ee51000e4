/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import { type Frame, Layout } from './layout.tsx'

interface ConfirmationProps {
  frame: Frame
  title: string
  /** The title with its names kept apart; the same as `title` where it is left out. */
  heading?: Child
  /** Where the form is posted. */
  action: string
  /** What the red button says: the verb, and what it is done to. */
  verb: string
  /** Where "Cancel" leads where there is no dialog to close. */
  back: string
  /** What will die, in plain words. It is read out with the title. */
  doomed: Child
  /** The fields of the form. The first one should take the focus: see below. */
  children?: Child
}

/**
 * The second of two steps, in a dialog or as a page. The red button never has the focus at first, so that a key
 * held down on the first step does not take the second; Enter in a text field sends the form.
 */
export const ConfirmationPage = ({
  frame,
  title,
  heading = title,
  action,
  verb,
  back,
  doomed,
  children,
}: ConfirmationProps) => (
  <Layout title={title} frame={frame} narrow>
    <h1 id="title">{heading}</h1>
    <div id="doomed" class="doomed">
      {doomed}
    </div>
    <form class="stack" method="post" action={action} data-once>
      {children}
      <div class="choices">
        <button type="submit" class="danger main" aria-describedby="doomed">
          {verb}
        </button>
        <a class="button" href={back} data-close>
          Cancel
        </a>
      </div>
    </form>
  </Layout>
)
