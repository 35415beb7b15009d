// A server of one file, at an origin other than the page's, as a hub is. Its connections can end
// early.

import { createHash } from "node:crypto";
import { createServer } from "node:http";

/** Bytes that are sent at a time, and the milliseconds between two sends. */
const PIECE = 1 << 16;
const PAUSE = 10;

export class Cutting {
  #server;
  #bytes;
  /**
   * The number of bytes that each of the next connections sends before it ends; null if it does not
   * even send an answer. Connections after these send everything.
   */
  cuts = [];
  /** Whether the SHA-256 in the headers is that of the file. */
  honest = true;
  /** The `Range` of each request, or null. */
  ranges = [];

  /** Serves `bytes` at every path. */
  static async start(bytes) {
    const cutting = new Cutting();
    cutting.#bytes = bytes;
    cutting.#server = createServer((request, response) => cutting.#answer(request, response));
    await new Promise((resolve) => cutting.#server.listen(0, "127.0.0.1", resolve));
    return cutting;
  }

  address(name) {
    return `http://127.0.0.1:${this.#server.address().port}/${name}`;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request, response) {
    this.ranges.push(request.headers.range ?? null);
    const all = this.#bytes;
    const most = this.cuts.length > 0 ? this.cuts.shift() : all.length;
    if (most === null) {
      response.destroy();
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const sum = createHash("sha256").update(this.honest ? all : "else").digest("base64");
    const range = { "content-range": `bytes ${start}-${all.length - 1}/${all.length}` };
    response.writeHead(start > 0 ? 206 : 200, {
      "access-control-allow-origin": "*",
      "access-control-expose-headers": "content-range, etag, repr-digest",
      "content-length": all.length - start,
      "content-type": "application/octet-stream",
      etag: '"1"',
      "repr-digest": `sha-256=:${sum}:`,
      ...(start > 0 ? range : {}),
    });
    this.#send(response, start, start + most);
  }

  /** Sends the bytes from `at`, and ends the connection at `cut`. */
  #send(response, at, cut) {
    const end = Math.min(at + PIECE, cut, this.#bytes.length);
    response.write(this.#bytes.subarray(at, end), () => {
      if (end === this.#bytes.length) response.end();
      // With `end`, the bytes that were sent arrive; `destroy` may lose them.
      else if (end === cut) response.socket.end();
      else setTimeout(() => this.#send(response, end, cut), PAUSE);
    });
  }
}
