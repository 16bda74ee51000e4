/** @jsxImportSource hono/jsx */
interface ChoicesProps {
  /** What the button says that sends the form. */
  verb: string
  /** Where "Cancel" leads; in a dialog it closes it. */
  back: string
  autofocus?: boolean
  describedBy?: string
}

/** The end of a form that kills nothing. */
export const Choices = ({ verb, back, autofocus, describedBy }: ChoicesProps) => (
  <div class="choices">
    <button type="submit" class="main" autofocus={autofocus} aria-describedby={describedBy}>
      {verb}
    </button>
    <a class="button" href={back} data-close>
      Cancel
    </a>
  </div>
)
