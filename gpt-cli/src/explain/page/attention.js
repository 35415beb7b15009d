"use strict";

// Attention: a small map of every head, the map of one head with its tokens, and the prompt
// coloured by the attention of the selected token.

/**
 * Decodes the weights of all maps to bytes, each 255 times the square root of a weight. In the
 * coded bytes, a zero is followed by the length of its run of zeros.
 */
function decodeAttention(text, length) {
  const coded = atob(text);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < coded.length; i++) {
    const byte = coded.charCodeAt(i);
    if (byte) bytes[at++] = byte;
    else at += coded.charCodeAt(++i);
  }
  return bytes;
}

function attention(data, selected) {
  const n = data.tokens.length;
  const all = decodeAttention(data.attention, data.layers * data.heads * n * n);
  const map = (layer, head) => {
    const first = (layer * data.heads + head) * n * n;
    return all.subarray(first, first + n * n);
  };
  const weight = (byte) => (byte / 255) ** 2;
  let color = () => [0, 0, 0];

  // Draws the map of a head, one pixel for each weight. Row i has the weights that token i gives.
  const picture = (canvas, layer, head) => {
    const shades = Array.from({ length: 256 }, (_, byte) => color(byte / 255));
    const image = new ImageData(n, n);
    map(layer, head).forEach((byte, i) => image.data.set([...shades[byte], 255], 4 * i));
    canvas.width = canvas.height = n;
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  let open = [0, 0];
  const thumbs = Array.from({ length: data.layers }, (_, layer) =>
    Array.from({ length: data.heads }, (_, head) => {
      const name = `Layer ${layer + 1}, head ${head + 1}`;
      const attributes = { type: "button", class: "thumb", "aria-label": name, title: name };
      const button = make("button", attributes, make("canvas"));
      button.addEventListener("click", () => show(layer, head));
      return button;
    }));
  const grid = make("div", { class: "thumbs" }, make("span", { class: "corner" }));
  grid.style.setProperty("--heads", data.heads);
  grid.append(...thumbs[0].map((_, head) => make("span", { class: "head" }, head + 1)));
  thumbs.forEach((line, layer) => {
    grid.append(make("span", { class: "layer" }, layer + 1), ...line);
  });
  const choose = roving(grid, thumbs, () => {});

  const title = make("h3");
  const canvas = make("canvas", {
    class: "map", tabindex: 0, role: "img", "aria-describedby": "weight",
  });
  const readout = make("p", { id: "weight", class: "readout", "aria-live": "polite" });
  const about = make("h3");
  const { list, buttons } = tokenList(data, selected,
    "The prompt by the attention of the selected token");

  // Key of the weight that the readout names; its query is the selected position.
  let key = 0;
  const say = (query) => {
    const share = percent(weight(map(...open)[query * n + key]));
    const [from, to] = [named(data, query), named(data, key)];
    readout.textContent = `${from} gives ${share} of its attention to ${to}.`;
  };
  const strongest = () => {
    const row = map(...open).subarray(selected.position * n, (selected.position + 1) * n);
    key = row.indexOf(Math.max(...row));
  };

  // Sizes in the large map in CSS pixels: the side of a cell, and the space for the labels to the
  // left and above.
  let layout = { cell: 1, gutter: 0 };
  const drawMap = (cursor) => {
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const [ink, accent] = [style.color, style.getPropertyValue("--accent")];
    const font = `11px ${style.fontFamily}`;
    context.font = font;
    const longest = Math.max(...data.tokens.map((t) => context.measureText(t.label).width));
    const gutter = Math.ceil(Math.min(longest, 84)) + 10;
    const room = canvas.parentElement.clientWidth - gutter - 2;
    const cell = Math.max(1, Math.min(28, Math.floor(2 * Math.min(room, 620) / n) / 2));
    layout = { cell, gutter };
    const side = gutter + cell * n + 2;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(side * ratio);
    canvas.style.width = canvas.style.height = `${side}px`;
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    context.drawImage(thumbs[open[0]][open[1]].firstChild, gutter, gutter, cell * n, cell * n);
    context.font = font;
    context.textBaseline = "middle";
    // If cells are small, only one of every few tokens has a label, and the one at the cursor.
    const every = Math.ceil(12 / cell);
    const [query, column] = [cursor ? cursor[0] : selected.position, cursor ? cursor[1] : key];
    const write = (chosen, align, place) => data.tokens.forEach((token, i) => {
      const shown = i === chosen || (i % every === 0 && Math.abs(i - chosen) >= every);
      if (!shown) return;
      context.save();
      place(gutter + (i + 0.5) * cell);
      context.textAlign = align;
      context.fillStyle = i === chosen ? accent : ink;
      context.fillText(token.label, 0, 0.5, gutter - 10);
      context.restore();
    });
    write(query, "right", (middle) => context.translate(gutter - 5, middle));
    const upright = longest <= cell - 2;
    write(column, upright ? "center" : "left", (middle) => {
      context.translate(middle, gutter - (upright ? 10 : 5));
      if (!upright) context.rotate(-Math.PI / 2);
    });
    context.strokeStyle = accent;
    context.lineWidth = 1;
    context.strokeRect(gutter - 0.5, gutter + query * cell - 0.5, cell * n + 1, cell + 1);
    context.lineWidth = 2;
    context.strokeRect(gutter + column * cell - 1, gutter + query * cell - 1, cell + 2, cell + 2);
  };

  const paintTokens = () => {
    const row = map(...open).subarray(selected.position * n, (selected.position + 1) * n);
    buttons.forEach((b, i) => {
      paint(b, color(row[i] / 255));
      const share = percent(weight(row[i]));
      b.title = share;
      b.setAttribute("aria-label", `${named(data, i)}: ${share}`);
    });
    about.textContent = `Where ${named(data, selected.position)} looks`;
  };
  const update = () => {
    const name = `Layer ${open[0] + 1}, head ${open[1] + 1}`;
    title.textContent = name;
    canvas.setAttribute("aria-label", `Attention of ${name.toLowerCase()}: rows attend to columns`);
    const pressed = thumbs[open[0]][open[1]];
    thumbs.flat().forEach((b) => b.setAttribute("aria-pressed", String(b === pressed)));
    drawMap();
    paintTokens();
    say(selected.position);
  };
  const show = (layer, head) => {
    open = [layer, head];
    strongest();
    update();
  };

  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const index = (offset) => Math.floor((offset - layout.gutter) / layout.cell);
    const at = [index(event.clientY - box.top), index(event.clientX - box.left)];
    return at.every((i) => i >= 0 && i < n) ? at : undefined;
  };
  canvas.addEventListener("pointermove", (event) => {
    const at = cellAt(event);
    if (!at) return;
    drawMap(at);
    const held = key;
    [, key] = at;
    say(at[0]);
    key = held;
  });
  canvas.addEventListener("pointerleave", () => { drawMap(); say(selected.position); });
  canvas.addEventListener("click", (event) => {
    const at = cellAt(event);
    if (at) moveTo(...at);
  });
  const moveTo = (query, column) => {
    selected.set(query);
    key = column;
    update();
  };
  canvas.addEventListener("keydown", (event) => {
    const step = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    }[event.key];
    if (!step) return;
    event.preventDefault();
    const clamp = (i) => Math.min(Math.max(i, 0), n - 1);
    moveTo(clamp(selected.position + step[0]), clamp(key + step[1]));
  });
  selected.watch(() => { strongest(); update(); });

  const element = section("attention", "Attention",
    "Each small map is a head: layers from top to bottom, heads from left to right. In a map, row "
    + "and column are tokens, and the colour is the weight that the token of the row gives to the "
    + "token of the column (its square root, so that small weights can be seen). Select a map to "
    + "open it.",
    make("div", { class: "maps" },
      make("div", { class: "overview scroll" }, grid),
      make("div", { class: "opened" }, title, canvas, readout)),
    about, list, legend("flow", "0", "100 %"));
  choose(...open);
  strongest();
  const draw = () => {
    color = scale("flow");
    thumbs.forEach((line, layer) => line.forEach((b, head) => picture(b.firstChild, layer, head)));
    update();
  };
  return { element, draw, resize: () => drawMap() };
}
