"use strict";

// Code that the drawings share: elements, labels of tokens, colours, the selected token, and moving
// in a grid with the arrow keys.

/** A new element with attributes and children. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A section with a heading and a paragraph that says what it shows. */
function section(id, title, about, ...children) {
  const heading = make("h2", { id: `${id}-title` }, title);
  return make("section", { id, "aria-labelledby": heading.id },
    heading, make("p", {}, about), ...children);
}

/** The marks that show blanks, bytes and invisible characters in a label. */
const MARKS = /([␣⏎⇥␍]+|<0x[0-9A-F]{2}>|<U\+[0-9A-F]{4,6}>)/;

/** The label of a token, with its marks in a quieter colour. */
function label(text) {
  const span = make("span", { class: "label" });
  text.split(MARKS).forEach((part, i) => {
    if (part) span.append(i % 2 ? make("span", { class: "mark" }, part) : part);
  });
  return span;
}

/** A token in a sentence: its label in quotes, and its position. */
function named(data, position) {
  return `“${data.tokens[position].label}” (position ${position})`;
}

function percent(p) {
  if (p >= 0.9995) return "100 %";
  return p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`;
}

/** Colours of the scale `name` of the style sheet: a function from 0..1 to red, green and blue. */
function scale(name) {
  const style = getComputedStyle(document.documentElement);
  const stops = [0, 1, 2, 3].map((i) => {
    const hex = parseInt(style.getPropertyValue(`--${name}-${i}`).trim().slice(1), 16);
    return [hex >> 16, (hex >> 8) & 255, hex & 255];
  });
  return (t) => {
    const at = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((from, c) => Math.round(from + (at - i) * (stops[i + 1][c] - from)));
  };
}

/** Colours an element, and makes its text dark or light by an approximation of WCAG's luminance. */
function paint(element, rgb) {
  const linear = rgb.map((c) => ((c / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  element.style.background = `rgb(${rgb})`;
  element.style.color = luminance > 0.19 ? "#14130f" : "#ffffff";
}

/** A bar with the colours of a scale between two numbers. */
function legend(name, low, high) {
  return make("div", { class: "legend" }, low, make("span", { class: `bar ${name}` }), high);
}

/** The position that is selected in all drawings. */
function selection(position) {
  const watchers = [];
  return {
    get position() { return position; },
    set(next) {
      if (next === position) return;
      position = next;
      watchers.forEach((watcher) => watcher(position));
    },
    watch(watcher) { watchers.push(watcher); },
  };
}

/**
 * Makes one of `cells`, rows of elements, a tab stop. Arrow keys move within the grid. Calls
 * `focused` with the row and column of a cell that gets the focus. Returns a function that sets the
 * tab stop.
 */
function roving(container, cells, focused) {
  let [row, column] = [0, 0];
  const places = new Map();
  cells.forEach((line, r) => line.forEach((cell, c) => {
    cell.tabIndex = -1;
    places.set(cell, [r, c]);
  }));
  const stop = (r, c) => {
    cells[row][column].tabIndex = -1;
    [row, column] = [r, c];
    cells[row][column].tabIndex = 0;
  };
  stop(0, 0);
  container.addEventListener("focusin", (event) => {
    const at = places.get(event.target.closest("[tabindex]"));
    if (!at) return;
    stop(...at);
    focused(...at);
  });
  container.addEventListener("keydown", (event) => {
    const [last, end] = [cells.length - 1, cells[row].length - 1];
    const next = {
      ArrowUp: [Math.max(row - 1, 0), column],
      ArrowDown: [Math.min(row + 1, last), column],
      ArrowLeft: [row, Math.max(column - 1, 0)],
      ArrowRight: [row, Math.min(column + 1, end)],
      Home: [row, 0],
      End: [row, end],
    }[event.key];
    if (!next) return;
    event.preventDefault();
    cells[next[0]][next[1]].focus();
  });
  return stop;
}

/**
 * The prompt as a list of buttons, which select a token. `note`, if given, returns the text below
 * the label at a position.
 */
function tokenList(data, selected, name, note) {
  const buttons = data.tokens.map((token, position) => {
    const button = make("button", { type: "button", class: "token" }, label(token.label));
    if (note) button.append(make("span", { class: "note" }, note(position)));
    button.addEventListener("click", () => selected.set(position));
    return button;
  });
  const items = buttons.flatMap((button, position) => {
    const ends = data.tokens[position].label.endsWith("⏎");
    const item = make("li", {}, button);
    return ends ? [item, make("li", { class: "break", "aria-hidden": "true" })] : [item];
  });
  const list = make("ol", { class: "tokens", "aria-label": name }, ...items);
  const stop = roving(list, [buttons], () => {});
  const mark = (position) => {
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(i === position)));
    stop(0, position);
  };
  mark(selected.position);
  selected.watch(mark);
  return { list, buttons };
}
