// Opens models: from the user's disk, from the store, and from servers. It reads one file at a
// time; a newer request replaces the one in progress.

import { Cut } from "./download.js";
import { Remote, read } from "./files.js";
import * as store from "./store.js";

/** The least milliseconds between two messages of progress. */
const OFTEN = 100;

export class Opening {
  #memory;
  #worker;
  #control = null;
  /** The download that is in progress, or whose connection ended early. */
  #remote = null;

  /** `memory` is the program's memory; `worker` has `post`, `load`, `fail` and `sentence`. */
  constructor(memory, worker) {
    this.#memory = memory;
    this.#worker = worker;
  }

  file(file) {
    return this.#run(file.name, async (signal, progress) =>
      ({ file: await read(file, file.name, signal, progress), note: null }));
  }

  kept(name) {
    return this.#run(name, async (signal, progress) =>
      ({ file: await read(await store.open(name), name, signal, progress), note: null }));
  }

  url(url) {
    const remote = new Remote(url, this.#memory);
    this.cancel();
    this.#remote = remote;
    return this.resume();
  }

  /** Begins the download, or resumes it where its connection ended. */
  resume() {
    const remote = this.#remote;
    if (remote === null) return null;
    return this.#run(remote.name, async (signal, progress) => {
      const found = await remote.finish(signal, progress);
      this.#remote = null;
      await this.#list();
      return found;
    }, remote);
  }

  cancel() {
    this.#control?.abort();
    this.#control = null;
    this.#remote?.drop();
    this.#remote = null;
  }

  async remove(name) {
    try {
      await store.remove(name);
      this.#worker.post("removed", { name });
    } catch (error) {
      this.#worker.post("unopened", { message: `${name} cannot be deleted: ${error.message}` });
    }
    await this.#list();
  }

  async #list() {
    this.#worker.post("kept", { files: await store.list().catch(() => []) });
  }

  /** Gets a file from `find`, and loads its model. `remote` is the download that `find` runs. */
  async #run(name, find, remote = null) {
    const { post, load, fail, sentence } = this.#worker;
    if (this.#remote !== remote) this.cancel();
    this.#control?.abort();
    const control = new AbortController();
    this.#control = control;
    const what = remote === null ? "Reading" : "Downloading";
    let last = -Infinity;
    const progress = (done, total) => {
      const now = performance.now();
      if (done !== total && now - last < OFTEN) return;
      last = now;
      post("progress", { what, name, done, total });
    };
    try {
      const { file, note } = await find(control.signal, progress);
      if (control.signal.aborted) {
        file?.free();
        return;
      }
      this.#control = null;
      post("loading", { name });
      post("opened", { ...(await load(file)), note });
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) return fail(error);
      if (control.signal.aborted) return;
      this.#control = null;
      const cut = error instanceof Cut && remote === this.#remote;
      if (remote !== null && !cut) this.cancel();
      post("unopened", { message: `${sentence(error)}.`, cut });
    }
  }
}
