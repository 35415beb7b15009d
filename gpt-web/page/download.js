// A download that resumes where a connection ended early. The bytes go to a `sink` with
// `append(bytes)`, `clear()` and `check(sum)`, so nothing but the sink holds them.

/** The number of connections in a row without any bytes after which the download fails. */
const TRIES = 5;
/** Milliseconds before the next connection. Doubles after each further one without any bytes. */
const PAUSE = 400;

/** The error of a connection that failed or ended early. `run` resumes where it ended. */
export class Cut extends Error {}

export class Download {
  #url;
  #tag = null;
  #sink = null;
  /** Bytes of the whole file; null if the server does not say. */
  size = null;
  received = 0;

  constructor(url) {
    this.#url = url;
  }

  /**
   * Downloads to the end. `open(size)` makes the sink. Throws `Cut` after `TRIES` connections in a
   * row without any bytes, and other errors if another connection would not help.
   */
  async run(open, signal, progress) {
    for (let tries = 0; ;) {
      const before = this.received;
      try {
        await this.#connect(open, signal, progress);
        break;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof Cut)) throw error;
        tries = this.received > before ? 0 : tries + 1;
        if (tries === TRIES) throw error;
        await pause(PAUSE * 2 ** Math.max(0, tries - 1), signal);
      }
    }
    await this.#sink.check(this.#sum);
    return this.#sink;
  }

  #sum = null;

  async #connect(open, signal, progress) {
    const headers = this.received > 0 ? { range: `bytes=${this.received}-` } : {};
    const request = { headers, signal, cache: "no-store", credentials: "omit" };
    const response = await fetch(this.#url, request).catch((error) => {
      signal.throwIfAborted();
      throw new Cut(`the server cannot be reached, or does not allow this page (${error.message})`);
    });
    const { status } = response;
    // The file has changed, and the range begins beyond its end.
    if (status === 416) {
      this.#restart();
      throw new Cut("the file has changed on the server");
    }
    if (!response.ok) {
      const what = `the server did not send the file: status ${status}`;
      throw status >= 500 || status === 429 || status === 408 ? new Cut(what) : new Error(what);
    }
    const about = describe(response, this.received);
    const changed = about.tag !== this.#tag || (about.size ?? this.size) !== this.size;
    if (this.received > 0 && (about.start !== this.received || changed)) {
      this.#restart();
      // A response with the whole of the changed file can be used; one with a part cannot.
      if (about.start !== 0) {
        await response.body.cancel();
        throw new Cut("the file has changed on the server");
      }
    }
    if (this.received === 0) {
      [this.#tag, this.size, this.#sum] = [about.tag, about.size, about.sum];
      this.#sink ??= open(this.size);
    }
    await this.#read(response.body.getReader(), signal, progress);
  }

  async #read(reader, signal, progress) {
    for (;;) {
      const { done, value } = await reader.read().catch(() => {
        signal.throwIfAborted();
        throw this.#cut();
      });
      if (done) break;
      this.#sink.append(value);
      this.received += value.length;
      progress(this.received, this.size);
    }
    if (this.size !== null && this.received < this.size) throw this.#cut();
    if (this.size !== null && this.received > this.size) {
      throw new Error(`the server sent ${this.received} bytes instead of ${this.size}`);
    }
  }

  #cut() {
    const of = this.size === null ? "" : ` of ${this.size}`;
    return new Cut(`the connection ended after ${this.received}${of} bytes`);
  }

  #restart() {
    this.#sink?.clear();
    this.received = 0;
    this.#tag = null;
    this.size = null;
  }
}

/** Describes the file of a response. A server of another origin may hide all but its length. */
function describe(response, received) {
  const { status, headers } = response;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
  const start = status === 206 ? Number(range?.[1] ?? received) : 0;
  // The length of compressed content is not that of the file.
  const compressed = headers.has("content-encoding");
  const length = compressed ? null : headers.get("content-length");
  const rest = length === null ? null : start + Number(length);
  const size = range && range[2] !== "*" ? Number(range[2]) : rest;
  return { start, size, tag: headers.get("etag"), sum: sumOf(headers) };
}

/** The SHA-256 of the whole file in hexadecimal digits, if the server gives it. */
function sumOf(headers) {
  for (const name of ["repr-digest", "digest"]) {
    const found = /sha-256=:?([A-Za-z0-9+/]{43}=)/i.exec(headers.get(name) ?? "");
    if (found) return Array.from(atob(found[1]), (c) => hex(c.charCodeAt(0))).join("");
  }
  // The Hugging Face hub sends it as the ETag of a large file.
  for (const name of ["x-linked-etag", "etag"]) {
    const found = /^"?([0-9a-f]{64})"?$/.exec(headers.get(name) ?? "");
    if (found) return found[1];
  }
  return null;
}

export const hex = (byte) => byte.toString(16).padStart(2, "0");

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
