// Parts of the page's script that are loaded when a reader needs them. In the
// book each is a script beside the page's own: a function that takes the modules
// on which it builds (bundle.py writes both). In a notebook nothing is apart.

import { loadScript } from "./scripts.js";

const HERE = globalThis.document?.currentScript?.src;

let modules = null; // the page's that parts build on
let version; // of all parts: a browser that has kept older ones asks anew
const codes = new Map();
const made = new Map();

// What the page's script calls at its end.
export function offer(...given) {
  [modules, version] = given;
}

// A part's function; null in a notebook, where everything is there already.
// Throws an Error that says what is missing.
export function codeOf(name) {
  if (!modules) return null;
  return once(codes, name, async () => {
    const url = new URL(HERE);
    url.pathname = url.pathname.replace(/js$/, `${name}.js`);
    url.search = `v=${version}`;
    await loadScript(url.href, `the part “${name}”`);
    const code = globalThis.vitTutorialPart;
    delete globalThis.vitTutorialPart;
    return code;
  });
}

// What a part exports: bundle.py puts this in the place of a dynamic import.
export function part(name) {
  return once(made, name, async () => (await codeOf(name))(modules));
}

// A promise that is made once, and anew where it was not kept.
function once(promises, name, make) {
  if (!promises.has(name)) {
    const promise = make();
    promises.set(name, promise);
    promise.catch(() => promises.delete(name));
  }
  return promises.get(name);
}
