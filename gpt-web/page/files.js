// Model files in the program's memory: from the user's disk, from the store, or from a server.

import { ModelFile } from "./gpt_web.js";
import { Download, hex } from "./download.js";
import * as store from "./store.js";

/** Bytes of a file that are read at a time. */
const PIECE = 4 << 20;

/** Reads the file `blob`, which is called `name`. */
export async function read(blob, name, signal, progress) {
  const file = new ModelFile(name, blob.size);
  try {
    for (let at = 0; at < blob.size; at += PIECE) {
      const piece = await blob.slice(at, at + PIECE).arrayBuffer();
      signal.throwIfAborted();
      file.append(new Uint8Array(piece));
      progress(file.size(), blob.size);
    }
    return file;
  } catch (error) {
    file.free();
    throw error;
  }
}

/** A download that can be resumed after its connection ended, and is kept when it is complete. */
export class Remote {
  #download;
  #memory;
  #file = null;

  /** `memory` is the memory of the WebAssembly program. */
  constructor(url, memory) {
    const { pathname, hostname } = new URL(url);
    this.name = decodeURIComponent(pathname.split("/").pop()) || hostname;
    this.#download = new Download(url);
    this.#memory = memory;
  }

  /**
   * Downloads the rest. Returns the file, and a note: a sentence that says why it is not kept, or
   * null.
   */
  async finish(signal, progress) {
    const open = (size) => {
      this.#file = new ModelFile(this.name, size ?? 0);
      return {
        append: (bytes) => this.#file.append(bytes),
        clear: () => this.#file.clear(),
        check: (sum) => this.#check(sum),
      };
    };
    await this.#download.run(open, signal, progress);
    const size = this.#file.size();
    const note = await store.keep(this.name, size, (start, end) => this.#bytes().slice(start, end));
    const file = this.#file;
    this.#file = null;
    return { file, note };
  }

  /** Frees the bytes that were downloaded. */
  drop() {
    this.#file?.free();
    this.#file = null;
  }

  #bytes() {
    return new Uint8Array(this.#memory.buffer, this.#file.address(), this.#file.size());
  }

  async #check(sum) {
    const magic = String.fromCharCode(...this.#bytes().subarray(0, 4));
    if (magic !== "GGUF") throw new Error(`${this.name} is not a GGUF file`);
    // Pages without HTTPS have no `subtle`.
    if (sum === null || !globalThis.crypto?.subtle) return;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", this.#bytes()));
    if (Array.from(digest, hex).join("") !== sum) {
      throw new Error(`${this.name} was damaged during the download: its SHA-256 differs from the `
        + "server's");
    }
  }
}
