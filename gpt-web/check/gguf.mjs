// Changes the metadata of a GGUF file, which gives models that are not built into the programs.

/** The length of the magic, the version and two counts, after which the metadata begins. */
const HEAD = 24;
/** Types of values. */
const [U32, TEXT] = [4, 8];

/** `file` with a chat template. */
export function withTemplate(file, template) {
  const key = Buffer.from("tokenizer.chat_template");
  const length = (value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const kind = Buffer.alloc(4);
  kind.writeUInt32LE(TEXT);
  // The data stay aligned if the metadata grow by a multiple of the alignment.
  const rest = 8 + key.length + 4 + 8 + Buffer.byteLength(template);
  const text = Buffer.from(template + " ".repeat((32 - (rest % 32)) % 32));
  const head = Buffer.from(file.subarray(0, HEAD));
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + 1n, 16);
  const pair = [length(key.length), key, kind, length(text.length), text];
  return Buffer.concat([head, ...pair, file.subarray(HEAD)]);
}

/** `file` with `value` as the value of `key`, a 32-bit number. */
export function withNumber(file, key, value) {
  const changed = Buffer.from(file);
  const at = changed.indexOf(key) + Buffer.byteLength(key);
  if (at < HEAD || changed.readUInt32LE(at) !== U32) throw new Error(`there is no number ${key}`);
  changed.writeUInt32LE(value, at + 4);
  return changed;
}
