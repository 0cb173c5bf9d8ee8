// Passes of the model over a photo: of the whole, and of what is left of it.
// The Worker makes them; what is still asked for is kept.

export class Passes {
  #photo = null; // what was asked last, and what is known of it
  #preparation = "";
  #bytes;
  #whole;
  #now = { keep: "", pass: undefined };

  constructor(looks, vit) {
    Object.assign(this, { looks, vit });
  }

  // What is known so far: { bytes, whole, now }, each undefined until it is.
  found({ photo, preparation, keep, all }) {
    const isSame =
      photo === this.#photo &&
      JSON.stringify(preparation) === this.#preparation;
    if (!isSame) return {};
    const now = keep.length === all ? this.#whole : this.#nowOf(keep);
    return { bytes: this.#bytes, whole: this.#whole, now };
  }

  #nowOf(keep) {
    return `${keep}` === this.#now.keep ? this.#now.pass : undefined;
  }

  // Find out the rest. progress(): something more is known. What was asked
  // before is answered no longer.
  async ask(asked, progress) {
    const latest = (this.latest = {});
    const isWanted = () => this.latest === latest;
    const { photo, preparation, keep, all } = asked;
    let { bytes, whole } = this.found(asked);
    if (!bytes) {
      const pixels = await photo.pixels();
      bytes = await this.looks.prepare(pixels, preparation, isWanted);
      if (!isWanted()) return;
      this.#photo = photo;
      this.#preparation = JSON.stringify(preparation);
      [this.#bytes, this.#whole] = [bytes, undefined];
      this.#now = { keep: "", pass: undefined };
      progress();
    }
    if (!whole) {
      whole = this.#whole = await this.pass(asked, bytes, {}, isWanted);
      progress();
    }
    if (keep.length === all) return;
    const pass = await this.pass(asked, bytes, { keep }, isWanted);
    this.#now = { keep: `${keep}`, pass };
    progress();
  }

  // Null: there is nothing left to read.
  async pass({ preparation }, bytes, changes, isWanted) {
    if (changes.keep?.length === 0 && !this.vit.numPrefix) return null;
    const { mean, std } = preparation;
    const given = { normal: { mean, std }, bytes, changes };
    return this.looks.ask("attend", given, isWanted);
  }

  // The logits alone, without some patches.
  logits({ preparation }, keep, isWanted) {
    const { mean, std } = preparation;
    const given = { normal: { mean, std }, bytes: this.#bytes };
    return this.looks.ask("predict", { ...given, changes: { keep } }, isWanted);
  }
}
