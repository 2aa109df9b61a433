"use strict";
// What a header or a drawing means, beside it, while the pointer or the keyboard is on it.

const hint = element("div", { id: "hint", role: "tooltip", hidden: "" });
document.body.append(hint);

/** Show the hint of what a node is in, or none. */
function tell(node) {
  const told = node?.closest("[data-hint]");
  hint.hidden = !told;
  if (!told) return;
  hint.textContent = told.dataset.hint;
  const { left, top, bottom } = told.getBoundingClientRect();
  const below = bottom + hint.offsetHeight <= innerHeight;
  hint.style.left = `${Math.max(8, Math.min(left, innerWidth - hint.offsetWidth - 8))}px`;
  hint.style.top = `${below ? bottom : Math.max(0, top - hint.offsetHeight)}px`;
}

// on the hint itself it stays, so that it can be read with a magnifier
document.addEventListener("pointerover", ({ target }) => target !== hint && tell(target));
document.addEventListener("focusin", ({ target }) => tell(target.matches(":focus-visible") ? target : null));
document.addEventListener("focusout", () => tell(null));
document.addEventListener("keydown", ({ key }) => key === "Escape" && tell(null));
addEventListener("scroll", () => tell(null), true);
