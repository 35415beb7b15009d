// Constants and functions that the checks share.

/** The most milliseconds from Stop to the end of a text. */
export const STOP = 100;
/** The longest task of the page, in milliseconds. */
export const TASK = 50;

/** A script that records the long tasks of a page from its beginning. */
export const WATCH = `
  globalThis.tasks = [];
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) tasks.push(duration);
  }).observe({ type: "longtask", buffered: true });
`;
export const status = 'document.getElementById("status").textContent';
export const idle = '!document.getElementById("write").disabled';

/** Fills in fields of the form. */
export const fill = (fields) => Object.entries(fields).map(([id, value]) =>
  `document.getElementById(${JSON.stringify(id)}).value = ${JSON.stringify(value)};`).join("");

/** The number of checks that failed. */
export let failed = 0;

export function check(what, passed, detail = "") {
  if (!passed) failed += 1;
  console.log(`${passed ? "ok    " : "FAILED"} ${what}${detail === "" ? "" : `: ${detail}`}`);
}
