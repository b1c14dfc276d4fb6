// The form that a token is typed into, once per tab.

import { element, setNote } from "./elements.js";

/** Shows the form in `main`, with the sentence that led here. Calls `onSignedIn` with who the daemon takes the token for. */
export function showSignIn(main, api, sentence, onSignedIn) {
  const token = element("input", "", {
    type: "password",
    id: "token",
    name: "token",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
  });
  const problem = element("p", "problem", { role: "alert" });
  const button = element("button", "primary", { type: "submit" }, "Sign in");
  const form = element(
    "form",
    "panel narrow",
    { "aria-labelledby": "sign-in" },
    element("h1", "", { id: "sign-in", tabindex: "-1" }, "Sign in"),
    element("p", "", {}, "With a token of this daemon's settings. It is kept in this tab, until you close it or sign out."),
    element("label", "", { for: "token" }, "Token"),
    token,
    problem,
    button,
  );
  setNote(problem, sentence);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    if (!/^[\x21-\x7e]+$/.test(token.value.trim())) {
      setNote(problem, "A token has letters, digits and signs, and no spaces; this is something else.");
      return;
    }
    button.disabled = true;
    try {
      api.remember(token.value.trim());
      onSignedIn(await api.get("v1/caller"));
    } catch (error) {
      // A refused token has brought up a new form already.
      if (form.isConnected) {
        api.forget();
        setNote(problem, error.message);
      }
    } finally {
      button.disabled = false;
    }
  });
  main.replaceChildren(form);
  token.focus();
}
