// Runs a program for WASI, such as a test, with the arguments that follow: the runner of
// `.ci/web simd`.

import { readFile } from "node:fs/promises";
import { argv, env, exit } from "node:process";
import { WASI } from "node:wasi";

const [program, ...parameters] = argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [program, ...parameters], env, returnOnExit: true });
const module = await WebAssembly.compile(await readFile(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
exit(wasi.start(instance));
