// Models that stay on the device, in the origin private file system (OPFS) of the browser. What is
// written through `createWritable` becomes the file only when it is closed, so no file is partial.

const FOLDER = "models";
/** Bytes that are written at a time. */
const PIECE = 4 << 20;

const folder = async () => {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(FOLDER, { create: true });
};

/** Whether the browser can keep files; it cannot on a page without HTTPS. */
const canKeep = () => Boolean(navigator.storage?.getDirectory)
  && typeof FileSystemFileHandle !== "undefined"
  && "createWritable" in FileSystemFileHandle.prototype;

/** Names and sizes of the models. */
export async function list() {
  if (!canKeep()) return [];
  const files = [];
  const models = await folder();
  for await (const [name, handle] of models.entries()) {
    const { size } = await handle.getFile();
    // The file was never closed, so it is empty.
    if (size === 0) await models.removeEntry(name).catch(() => {});
    else files.push({ name, size });
  }
  return files.sort((a, b) => a.name.localeCompare(b.name));
}

export async function open(name) {
  const handle = await (await folder()).getFileHandle(name);
  return handle.getFile();
}

/**
 * Keeps a file of `size` bytes as `name`. `piece(start, end)` returns a copy of some of the bytes.
 * Returns null, or a sentence that says why the file is not kept.
 */
export async function keep(name, size, piece) {
  if (!canKeep()) return "This browser cannot keep models, so the next visit downloads it again.";
  let models = null;
  let out = null;
  try {
    models = await folder();
    const handle = await models.getFileHandle(name, { create: true });
    out = await handle.createWritable();
    for (let at = 0; at < size; at += PIECE) await out.write(piece(at, Math.min(at + PIECE, size)));
    await out.close();
    return null;
  } catch (error) {
    await out?.abort().catch(() => {});
    await list().catch(() => {});
    if (error.name === "QuotaExceededError") {
      return `The model is not kept, because the browser has no room for its ${megabytes(size)}; `
        + "delete another model, or free space on the device.";
    }
    return `The model is not kept: ${error.message}. The next visit downloads it again.`;
  }
}

export async function remove(name) {
  await (await folder()).removeEntry(name);
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
