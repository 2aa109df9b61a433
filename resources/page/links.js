"use strict";
// Addresses, DOIs and arXiv identifiers in text, as links. What a link shows is where it leads.

const ADDRESS = /https:\/\/[!-~]+|\barXiv(?::| )\s?\d{4}\.\d{4,5}(?:v\d+)?|\b(?:doi:\s?)?10\.\d{4,9}\/[!-~]+/gi;

/** Text with its addresses as links to https, and what stands between backticks set as code. */
function linked(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const shown = withoutEnd(found[0]);
    const address = addressOf(shown);
    if (!address) continue;
    parts.push(...marked(text.slice(end, found.index)), element("a", { href: address, rel: "noreferrer" }, shown));
    end = found.index + shown.length;
  }
  return [...parts, ...marked(text.slice(end))];
}

/** What was found, without the stops and brackets of the sentence around it. */
function withoutEnd(found) {
  const cut = found.replace(/["'`<>].*$/, "").replace(/[.,;:!?]+$/, "");
  const last = { ")": "(", "]": "[" }[cut.at(-1)];
  const unopened = last && cut.split(last).length < cut.split(cut.at(-1)).length;
  return unopened ? withoutEnd(cut.slice(0, -1)) : cut;
}

/** Where it leads; nothing if that is no address, or one that names a user, as those do that pretend to be others. */
function addressOf(shown) {
  const address = shown.replace(/^arXiv(?::| )\s?/i, "https://arxiv.org/abs/").replace(/^(?:doi:\s?)?(?=10\.)/i, "https://doi.org/");
  const made = URL.canParse(address) ? new URL(address) : null;
  return made?.protocol === "https:" && !made.username && made.hostname ? made.href : null;
}
