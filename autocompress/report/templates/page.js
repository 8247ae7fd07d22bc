// What a reader may do with the page: choose axes, point at a candidate, filter, sort, copy a digest. It works without.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = Object.fromEntries(data.candidates.map((one) => [one.id, one]));
  const make = (tag, attributes = {}, text = "") => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };

  // ---- tables
  const sorted = (table, column, head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const value = row.cells[column].dataset.value;
      return value === undefined ? row.cells[column].textContent : Number(value);
    };
    const blank = (value) => value === "";
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [one, two] = [key(a), key(b)];
      if (blank(one) || blank(two)) return blank(one) - blank(two); // what is not known comes last, whichever way
      const order = typeof one === typeof two ? (one < two ? -1 : one > two ? 1 : 0) : typeof one === "number" ? -1 : 1;
      return up ? order : -order;
    });
    table.tBodies[0].append(...rows);
  };
  for (const table of document.querySelectorAll("table")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", title: "Sort by this column" }, head.textContent);
      button.addEventListener("click", () => sorted(table, column, head));
      head.replaceChildren(button);
    });
  }
  for (const table of document.querySelectorAll("table.many")) {
    const wanted = make("input", { type: "search", placeholder: "Filter, such as: 3 layers int8", "aria-label": "Filter" });
    const found = make("span", { role: "status" });
    wanted.addEventListener("input", () => {
      const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      found.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
    });
    const bar = make("div", { class: "controls" });
    bar.append(wanted, found);
    table.parentElement.before(bar);
  }

  // ---- digests
  const copied = async (code, button) => {
    try {
      await navigator.clipboard.writeText(code.dataset.digest);
      button.textContent = "copied";
    } catch {
      code.textContent = code.dataset.digest; // to be copied by hand
      getSelection().selectAllChildren(code);
      button.textContent = "selected";
    }
    setTimeout(() => (button.textContent = "copy"), 1500);
  };
  for (const code of document.querySelectorAll("code[data-digest]")) {
    const label = `Copy the digest ${code.dataset.digest}`;
    const button = make("button", { type: "button", class: "copy", title: label, "aria-label": label }, "copy");
    button.addEventListener("click", () => copied(code, button));
    code.after(" ", button);
  }

  // ---- the picture
  const section = document.getElementById("front");
  const figures = [...section.querySelectorAll("figure")];
  if (!figures.length || data.metrics.length < 2) return;
  const tip = make("div", { class: "tip", hidden: "" });
  document.body.append(tip);
  const point = (event) => {
    const dot = event.target.closest("[data-id]");
    tip.hidden = !dot;
    if (!dot) return;
    const one = by[dot.dataset.id];
    const lines = make("dl");
    for (const metric of data.metrics) {
      if (metric.name in one.shown) lines.append(make("dt", {}, metric.label), make("dd", {}, one.shown[metric.name]));
    }
    tip.replaceChildren(make("b", {}, one.name), make("p", {}, one.model), lines);
    const box = dot.getBoundingClientRect();
    const left = Math.min(box.right + 10, innerWidth - tip.offsetWidth - 12);
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${Math.max(8, Math.min(box.top, innerHeight - tip.offsetHeight - 12)) + scrollY}px`;
  };
  const follow = (event) => {
    const row = document.getElementById(event.target.closest("[data-id]")?.dataset.id ?? "");
    if (!row) return;
    const folded = row.closest("details");
    if (folded) folded.open = true;
    row.scrollIntoView({ block: "center", behavior: "smooth" });
    for (const other of document.querySelectorAll("tr.pointed")) other.classList.remove("pointed");
    row.classList.add("pointed");
  };
  section.addEventListener("pointerover", point);
  section.addEventListener("pointerleave", () => (tip.hidden = true));
  section.addEventListener("click", follow);

  const SVG = "http://www.w3.org/2000/svg";
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [860, 480, 84, 24, 24, 58];
  const draw = (tag, attributes, text) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const scale = (values, from, to) => {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const log = low > 0 && high / low > 5;
    const pad = log ? (high / low) ** 0.06 : 0.06 * (high - low || Math.abs(high) || 1);
    [low, high] = log ? [low / pad, high * pad] : [low - pad, high + pad];
    const share = (value) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    const ticks = [];
    const rough = (high - low) / 5;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((one) => one * unit).find((one) => one >= rough);
    if (log) {
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const one of [1, 2, 5]) ticks.push(one * 10 ** power);
      }
    } else {
      for (let one = Math.ceil(low / step); one * step <= high; one++) ticks.push(one * step);
    }
    const inside = ticks.filter((one) => one >= low && one <= high);
    return { at: (value) => from + share(value) * (to - from), ticks: inside };
  };
  const figure = make("figure");
  const picture = (x, y) => {
    const shown = data.candidates.filter((one) => x.name in one.values && y.name in one.values);
    const across = scale(shown.map((one) => one.values[x.name]), LEFT, WIDTH - RIGHT);
    const upwards = scale(shown.map((one) => one.values[y.name]), HEIGHT - BOTTOM, TOP);
    const svg = draw("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
      "aria-label": `${y.title} against ${x.title}` });
    const text = (value) => String(Number(value.toPrecision(5)));
    for (const tick of upwards.ticks) {
      const at = upwards.at(tick);
      svg.append(draw("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }),
        draw("text", { class: "tick", x: LEFT - 10, y: at + 4, "text-anchor": "end" }, text(tick)));
    }
    for (const tick of across.ticks) {
      const at = across.at(tick);
      svg.append(draw("line", { class: "rule", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM }),
        draw("text", { class: "tick", x: at, y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, text(tick)));
    }
    svg.append(
      draw("text", { class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 12, "text-anchor": "middle" }, x.title),
      draw("text", { class: "axis", transform: `translate(16 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`,
        "text-anchor": "middle" }, y.title));
    const order = ["estimate", "baseline", "cascade", "verified"];
    shown.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
    for (const one of shown) {
      const [cx, cy] = [across.at(one.values[x.name]), upwards.at(one.values[y.name])];
      const group = draw("g", { class: one.kind, "data-id": one.id });
      if (one.knee) group.append(draw("circle", { class: "knee", cx, cy, r: 11 }));
      if (one.kind === "baseline") group.append(draw("rect", { x: cx - 5.5, y: cy - 5.5, width: 11, height: 11, rx: 2 }));
      else if (one.kind === "cascade") {
        group.append(draw("polygon", { points: `${cx},${cy - 7} ${cx + 6},${cy + 5} ${cx - 6},${cy + 5}` }));
      } else group.append(draw("circle", { class: "dot", cx, cy, r: one.kind === "estimate" ? 3.5 : 6 }));
      svg.append(group);
    }
    const scroll = make("div", { class: "scroll" });
    scroll.append(svg);
    figure.replaceChildren(scroll, ...[...figures[0].querySelectorAll("figcaption")].map((one) => one.cloneNode(true)));
  };
  const choice = (name, chosen) => {
    const select = make("select");
    for (const metric of data.metrics) select.append(make("option", { value: metric.name }, metric.label));
    select.value = chosen;
    const labelled = make("label", {}, `${name} `);
    labelled.append(select);
    return [labelled, select];
  };
  const [across, x] = choice("across", figures[0].dataset.x);
  const [upwards, y] = choice("upwards", figures[0].dataset.y);
  const show = () => {
    const ready = figures.find((one) => one.dataset.x === x.value && one.dataset.y === y.value);
    for (const one of figures) one.hidden = one !== ready;
    figure.hidden = Boolean(ready);
    const named = (name) => data.metrics.find((metric) => metric.name === name);
    if (!ready) picture(named(x.value), named(y.value));
  };
  const bar = make("div", { class: "controls" });
  bar.append(across, upwards);
  figures[0].before(bar);
  section.append(figure);
  x.addEventListener("change", show);
  y.addEventListener("change", show);
  show();
})();
