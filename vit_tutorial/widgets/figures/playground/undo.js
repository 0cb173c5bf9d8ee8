// What can be undone and done again: the states before each thing that a
// reader did.

export class Undo {
  #past = [];
  #future = [];
  #gesture = null;

  // Keep the state before a change. All changes of one gesture, a drag or a
  // slide, are undone together.
  keep(state, gesture = null) {
    if (gesture === null || gesture !== this.#gesture) this.#past.push(state);
    this.#gesture = gesture;
    this.#future = [];
  }

  // The gesture is over: the next one is a step of its own.
  rest() {
    this.#gesture = null;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  // Hand out the state before `now`, or the one after it; undefined at the end.
  undo(now) {
    return this.#step(this.#past, this.#future, now);
  }

  redo(now) {
    return this.#step(this.#future, this.#past, now);
  }

  #step(from, to, now) {
    this.rest();
    if (from.length) to.push(now);
    return from.pop();
  }
}

// Hear Ctrl+Z, Ctrl+Shift+Z and Ctrl+Y in an element, and on a Mac their like.
export function onUndoKeys(root, { undo, redo }) {
  root.addEventListener("keydown", (event) => {
    const { key, ctrlKey, metaKey, shiftKey, target } = event;
    if (!(ctrlKey || metaKey) || target.type === "text") return;
    const letter = key.toLowerCase();
    if (letter !== "z" && letter !== "y") return;
    event.preventDefault();
    event.stopPropagation();
    if (letter === "y" || shiftKey) redo();
    else undo();
  });
}
