/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/** The query goes in a body, never in an address: it may be a secret. */
export const FindForm = ({ found, children }: { found?: Child; children?: Child }) => (
  <form
    method="post"
    action="/find"
    hx-post="/find"
    hx-target="#found"
    hx-swap="innerHTML"
    hx-trigger="input delay:80ms from:#find, submit, refresh"
    hx-sync="this:replace"
  >
    <label class="unseen" for="find">
      What to find
    </label>
    <div class="asking">
      <input
        id="find"
        name="q"
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls="found"
        aria-autocomplete="list"
        placeholder="Part of a name, or a leaked secret"
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        autofocus
      />
      <button type="button" class="close" data-close>
        Close
      </button>
    </div>
    {children}
    <div id="found" class="found">
      {found}
    </div>
    <p class="keys">
      <kbd>↑</kbd> <kbd>↓</kbd> choose, <kbd>Enter</kbd> take it, <kbd>Esc</kbd> close. Nothing dies before you confirm
      it.
    </p>
  </form>
)

/** What is found is fetched while one types. */
export const Palette = () => (
  <dialog id="palette" class="palette" aria-label="Find and kill">
    <FindForm />
  </dialog>
)
