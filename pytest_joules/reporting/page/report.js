"use strict";
// The page without this script holds all texts.  It adds filter, sorting, charts and the choice of a theme.

const root = document.documentElement;
const overview = document.getElementById("overview");
const data = JSON.parse(document.getElementById("data").textContent);

function make(name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// -- filter and sorting: kept in the address, so that a link shows what its sender saw --

const form = document.getElementById("filter");
const table = document.getElementById("tests");
const query = document.getElementById("query");
const order = document.getElementById("order");
let rows = [];
let sorted = { by: "worst", turned: false };
let soon = 0;

function startTable() {
  form.hidden = false;
  rows = [...table.tBodies[0].rows].map((element, place) => ({
    element,
    place,
    link: element.querySelector("a"),
    name: element.querySelector("th").textContent,
    verdict: element.dataset.verdict,
    text: element.textContent.toLowerCase(),
  }));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    filter();
    remember();
  });
  order.addEventListener("change", () => {
    sort(order.value);
    remember();
  });
  overview.addEventListener("click", (event) => {
    followed = event.target.closest("a");
    keepAddress();
  }, { capture: true });
  for (const head of table.querySelectorAll("th[data-sort]")) {
    const button = make("button", head.textContent, { type: "button" });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      sort(head.dataset.sort, head.getAttribute("aria-sort") === FIRST(head.dataset.sort));
      remember();
    });
  }
  filter();
}

const chosen = () => [...form.querySelectorAll("input[name=verdict]:checked")].map((box) => box.value);

// The address of the list as it is shown.
function address() {
  const kept = new URLSearchParams();
  if (query.value.trim()) kept.set("q", query.value.trim());
  if (chosen().length) kept.set("verdict", chosen().join(","));
  if (sorted.by !== "worst") kept.set("sort", (sorted.turned ? "-" : "") + sorted.by);
  return `#${String(kept).replaceAll("%2C", ",") || "main"}`;
}

function remember() {
  clearTimeout(soon);
  soon = setTimeout(keepAddress, 150); // browsers refuse an address that changes at every key
}

function keepAddress() {
  if (soon && !location.hash.startsWith("#t-")) history.replaceState(null, "", address());
  clearTimeout(soon);
  soon = 0;
}

function restore(hash) {
  if (!table || !hash.includes("=")) return;
  const kept = new URLSearchParams(hash.slice(1));
  const verdicts = (kept.get("verdict") ?? "").split(",");
  const by = (kept.get("sort") ?? "worst").replace(/^-/, "");
  query.value = kept.get("q") ?? "";
  for (const box of form.querySelectorAll("input[name=verdict]")) box.checked = verdicts.includes(box.value);
  filter();
  if ([...order.options].some((option) => option.value === by)) sort(by, (kept.get("sort") ?? "").startsWith("-"));
}

// Names read from A, numbers from the largest.
const FIRST = (by) => (by === "test" ? "ascending" : "descending");

function sort(by, turned = false) {
  sorted = { by, turned };
  order.value = by;
  const key = (row) => {
    if (by === "worst") return row.place;
    if (by === "test") return row.name;
    return row.element.dataset[by] === "" ? null : -Number(row.element.dataset[by]);
  };
  const keyed = rows.map((row) => [key(row), row]);
  keyed.sort(([a, first], [b, second]) => {
    if (a === null || b === null) return (a === null) - (b === null) || first.place - second.place;
    const order = typeof a === "string" ? a.localeCompare(b) : a - b;
    return (turned ? -order : order) || first.place - second.place;
  });
  rows = keyed.map(([, row]) => row);
  table.tBodies[0].append(...rows.map((row) => row.element));
  const other = { ascending: "descending", descending: "ascending" };
  for (const head of table.querySelectorAll("th[data-sort]")) {
    if (head.dataset.sort !== by) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", turned ? other[FIRST(by)] : FIRST(by));
  }
}

function filter() {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const verdicts = chosen();
  let count = 0;
  for (const row of rows) {
    const fits =
      (!verdicts.length || verdicts.includes(row.verdict)) && words.every((word) => row.text.includes(word));
    row.element.hidden = !fits;
    count += fits;
  }
  document.getElementById("shown").textContent = `${count} of ${rows.length} shown`;
}

// -- one test --

const title = document.title;
let left = null; // the test that was open
let followed = null; // the link that led to one

function opened() {
  const article = location.hash.startsWith("#t-") ? document.getElementById(location.hash.slice(1)) : null;
  root.dataset.view = article ? "test" : "overview";
  if (!article) {
    document.title = title;
    restore(location.hash);
    if (left) (followed?.hash === left ? followed : rows.find((row) => row.link?.hash === left)?.link)?.focus();
    left = null;
    return;
  }
  left = location.hash;
  const heading = article.querySelector("h2");
  document.title = `${heading.textContent.slice(0, 80)} · Energy report`;
  scrollTo(0, 0);
  heading.focus({ preventScroll: true });
  article.querySelector("[data-back]").setAttribute("href", table ? address() : "#main");
  const listed = rows.filter((row) => row.link && !row.element.hidden);
  const place = listed.findIndex((row) => row.link?.hash === left);
  for (const [name, step] of [["previous", -1], ["next", 1]]) {
    const link = article.querySelector(`[data-${name}]`);
    const other = place < 0 ? undefined : listed[place + step];
    link.hidden = !other;
    if (other) link.setAttribute("href", other.link.hash);
  }
  draw(article);
}

// -- charts --

let source = null;
let library = null;

// Plotly comes packed, and starts when the first chart is near: the page opens at once.
function unpacked() {
  source ??= (async () => {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  })();
  return source;
}

function plotly() {
  library ??= (async () => {
    const text = await unpacked();
    const head = document.head;
    const append = head.appendChild;
    // The styles of Plotly's maps: no map is drawn here, and the policy would refuse them with an error.
    head.appendChild = (node) => (node.localName === "style" && node.textContent ? node : append.call(head, node));
    append.call(head, make("script", text));
    delete head.appendChild;
    return window.Plotly;
  })();
  return library;
}

// The policy refuses style attributes, also those of Plotly; the object model is not a matter of the policy.
const setAttribute = Element.prototype.setAttribute;
Element.prototype.setAttribute = function (name, value) {
  if (name === "style") this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const column = (values, length) => (Array.isArray(values) ? values : Array(length).fill(values));
const number = (value, digits = 4) => (value === null || value === undefined ? "–" : String(+value.toPrecision(digits)));

function layout(extra) {
  const axis = { gridcolor: color("line"), linecolor: color("line"), zeroline: false, automargin: true, fixedrange: true };
  const made = {
    paper_bgcolor: color("paper"),
    plot_bgcolor: color("paper"),
    font: { color: color("ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    margin: { l: 60, r: 20, t: 30, b: 45 },
    hovermode: "closest",
    hoverlabel: { bgcolor: color("ground"), font: { color: color("ink") } },
    showlegend: false,
    dragmode: false,
    shapes: [],
    annotations: [],
    ...extra,
  };
  for (const name of Object.keys(made).filter((key) => /^[xy]axis/.test(key))) made[name] = { ...axis, ...made[name] };
  return made;
}

// What is accepted along an axis of joules per unit: baseline, tolerance, limit.
function marks(told, axis) {
  const across = axis === "x" ? "y" : "x";
  const line = (value, name, dash) => ({
    type: "line", [`${axis}0`]: value, [`${axis}1`]: value, [`${across}ref`]: "paper", [`${across}0`]: 0, [`${across}1`]: 1,
    line: { color: color(name), width: 1.5, dash }, layer: "below",
  });
  const text = (value, words, name, side) => ({
    ...(axis === "x"
      ? { x: value, y: 1, yref: "paper", yanchor: "bottom", xanchor: side }
      : { y: value, x: 1, xref: "paper", xanchor: "right", yanchor: side === "left" ? "bottom" : "top" }),
    text: words, showarrow: false, font: { color: color(name), size: 11 },
  });
  const shapes = [];
  const annotations = [];
  if (told.baseline !== undefined) {
    if (told.tolerance !== undefined) {
      const [low, high] = [told.baseline / (1 + told.tolerance), told.baseline * (1 + told.tolerance)];
      shapes.push({
        type: "rect", [`${axis}0`]: low, [`${axis}1`]: high, [`${across}ref`]: "paper", [`${across}0`]: 0,
        [`${across}1`]: 1, fillcolor: color("band"), line: { width: 0 }, layer: "below",
      });
      annotations.push(text(high, `+${number(100 * told.tolerance, 3)}%`, "good", axis === "x" ? "left" : "left"));
    }
    shapes.push(line(told.baseline, "good", "solid"));
    annotations.push(text(told.baseline, "baseline", "good", axis === "x" ? "right" : "right"));
  }
  if (told.limit !== undefined) {
    shapes.push(line(told.limit, "bad", "dash"));
    annotations.push(text(told.limit, "limit", "bad", "left"));
  }
  return { shapes, annotations };
}

// An axis that holds the tolerance's band and all points; a limit far off would leave them no room, and is told in words.
function range(told, values) {
  const all = [...values, told.today, told.baseline].filter((value) => Number.isFinite(value));
  if (told.baseline !== undefined && told.tolerance !== undefined) {
    all.push(told.baseline * (1 + 1.3 * told.tolerance), told.baseline / (1 + 1.3 * told.tolerance));
  }
  const span = Math.max(...all) - Math.min(...all);
  if (told.limit !== undefined && (told.baseline === undefined || Math.abs(told.limit - told.today) < 2 * span)) all.push(told.limit);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const margin = 0.07 * (high - low) || 0.02 * Math.abs(high) || 1;
  return [low - margin, high + margin];
}

function sessions(told) {
  const { t = [], j = [], sd, s, commit, own, anchor } = told.history ?? {};
  const count = t.length;
  const [spread, seconds] = [column(sd, count), column(s, count)];
  return t.map((time, index) => ({
    time, joules: j[index], spread: spread[index], seconds: seconds[index], commit: commit[index],
    own: own[index] === 1, anchor: anchor[index] === 1,
  })).filter((session) => Number.isFinite(session.joules));
}

const kindOf = (session) => (session.own ? "this device" : "another device") + (session.anchor ? ", pinned" : "");

const charts = {
  blocks(told) {
    const stored = sessions(told);
    const groups = [
      ["other devices", stored.filter((session) => !session.own), "soft", "circle-open"],
      ["sessions", stored.filter((session) => session.own), "third", "diamond"],
    ].filter(([, found]) => found.length);
    const traces = groups.map(([, found, name, symbol], row) => ({
      x: found.map((session) => session.joules), y: found.map((_, index) => row + spreadOut(index, found.length)),
      error_x: { type: "data", array: found.map((session) => (session.spread ?? 0) * session.joules), color: color(name), thickness: 1, width: 3 },
      mode: "markers", type: "scatter", marker: { color: color(name), symbol, size: 9 },
      text: found.map((session) => `${session.time.slice(0, 10)} ${session.commit ?? ""}`), hovertemplate: "%{x} " + escapeHtml(told.unit) + "<br>%{text}<extra></extra>",
    }));
    const top = groups.length;
    if (told.interval) {
      traces.push({
        x: told.interval, y: [top, top], mode: "lines", type: "scatter", line: { color: color("series"), width: 14 },
        opacity: 0.2, hovertemplate: "98% interval: %{x}<extra></extra>",
      });
    }
    traces.push({
      x: told.blocks, y: told.blocks.map((_, index) => top + spreadOut(index, told.blocks.length)), mode: "markers", type: "scatter",
      marker: { color: color("series"), size: 10, line: { color: color("paper"), width: 1 } },
      text: told.blocks.map((_, index) => index + 1), hovertemplate: "block %{text}: %{x} " + escapeHtml(told.unit) + "<extra></extra>",
    });
    const values = [...told.blocks, ...(told.interval ?? [])];
    for (const session of stored) values.push(session.joules * (1 - (session.spread ?? 0)), session.joules * (1 + (session.spread ?? 0)));
    return [traces, layout({
      ...marks(told, "x"),
      xaxis: { title: { text: escapeHtml(told.unit) }, range: range(told, values), nticks: 6 },
      yaxis: { tickvals: [...groups.keys(), top], ticktext: [...groups.map(([name]) => name), "blocks today"], range: [-0.6, top + 0.6], showgrid: false },
    })];
  },

  power(told) {
    const { s, w, mhz, c, blocks, before, limit } = told.power;
    const [watts, clock, degrees] = [w, mhz, c].map((values) => column(values, s.length));
    const times = column(s, 1);
    const known = (values) => values.some((value) => value !== null);
    const step = { mode: "lines", type: "scatter", connectgaps: true };
    const traces = [{ x: times, y: watts, ...step, line: { shape: "vh", color: color("series"), width: 1.8 }, hovertemplate: "%{y} W at %{x} s<extra></extra>" }];
    const lower = [];
    if (known(clock)) lower.push({ x: times, y: clock, yaxis: "y2", ...step, line: { color: color("second"), width: 1.5 }, hovertemplate: "%{y} MHz at %{x} s<extra></extra>" });
    if (known(degrees)) lower.push({ x: times, y: degrees, yaxis: "y3", ...step, line: { color: color("third"), width: 1.5, dash: "dot" }, hovertemplate: "%{y} °C at %{x} s<extra></extra>" });
    const edges = blocks;
    const bottom = lower.length ? 0.42 : 0;
    const shapes = [];
    const annotations = [];
    const shade = (x0, x1, name) => shapes.push({ type: "rect", x0, x1, yref: "paper", y0: 0, y1: 1, fillcolor: color(name), line: { width: 0 }, layer: "below" });
    if (edges.length > 1) {
      if (edges[0] > 0) {
        shade(0, edges[0], "warm");
        annotations.push({ x: edges[0] / 2, y: 1, yref: "paper", yanchor: "bottom", text: edges[0] > 0.12 * times.at(-1) ? before : "", showarrow: false, font: { color: color("warn"), size: 11 } });
      }
      for (let index = 0; index + 1 < edges.length; index++) shade(edges[index], edges[index + 1], index % 2 ? "block-b" : "block-a");
      annotations.push({ x: (edges[0] + edges.at(-1)) / 2, y: 1, yref: "paper", yanchor: "bottom", text: edges.length === 2 ? "1 block" : `${edges.length - 1} blocks`, showarrow: false, font: { color: color("series"), size: 11 } });
    }
    const most = Math.max(...watts.filter(Number.isFinite));
    if (limit && most > 0.8 * limit) {
      shapes.push({ type: "line", x0: 0, x1: 1, xref: "paper", y0: limit, y1: limit, line: { color: color("bad"), width: 1.5, dash: "dash" } });
      annotations.push({ x: 1, xref: "paper", xanchor: "right", y: limit, yanchor: "bottom", text: "power limit", showarrow: false, bgcolor: color("paper"), font: { color: color("bad"), size: 11 } });
    }
    const padded = (values, least) => {
      const found = values.filter((value) => Number.isFinite(value));
      const [low, high] = [Math.min(...found), Math.max(...found)];
      const margin = Math.max(0.1 * (high - low), least);
      return [low - margin, high + margin];
    };
    const made = {
      shapes, annotations,
      margin: { l: 60, r: 55, t: 30, b: 45 },
      xaxis: { title: { text: before === "idle" ? "seconds" : "seconds since warm-up began" }, range: [0, Math.max(times.at(-1), edges.at(-1) ?? 0)], anchor: lower.length ? "y2" : "y" },
      yaxis: { title: { text: "W" }, domain: [bottom + (lower.length ? 0.06 : 0), 1], range: [Math.min(0, ...watts), 1.12 * Math.max(most, limit > most && most > 0.8 * limit ? limit : 0) || 1], nticks: 6 },
    };
    if (lower.length) {
      made.yaxis2 = { title: { text: "SM MHz", font: { color: color("second") } }, domain: [0, bottom - 0.04], nticks: 4, range: known(clock) ? padded(clock, 30) : undefined };
    }
    if (known(degrees)) {
      made.yaxis3 = { title: { text: "°C", font: { color: color("third") } }, overlaying: "y2", side: "right", showgrid: false, nticks: 4, tickformat: ".0f", range: padded(degrees, 2) };
    }
    return [[...traces, ...lower], layout(made)];
  },

  // Joules against latency: what no other point surely beats in both is on the line.
  frontier(told) {
    const of = (axis) => told.points.map((point) => point[axis][0]);
    const log = { x: wide(of("x")), y: wide(of("y")) };
    const on = (axis, value) => (log[axis] ? Math.log10(value) : value);
    const kinds = [
      ["dominated", "soft", "circle-open", 8], ["tied", "second", "diamond-open", 9], ["frontier", "series", "circle", 10],
    ];
    const error = (points, axis, name) => ({
      type: "data", visible: points.some((point) => point[axis][2] > point[axis][1]), symmetric: false, array: points.map((point) => point[axis][2] - point[axis][0]),
      arrayminus: points.map((point) => point[axis][0] - point[axis][1]), color: color(name), thickness: 1, width: 3,
    });
    const line = told.points.filter((point) => point.standing === "frontier");
    const traces = [{
      x: line.map((point) => point.x[0]), y: line.map((point) => point.y[0]), type: "scatter", mode: "lines",
      line: { shape: "hv", color: color("series"), width: 1.5 }, opacity: 0.6, hoverinfo: "skip", showlegend: false,
    }];
    for (const [kind, name, symbol, size] of kinds) {
      const points = told.points.filter((point) => point.standing === kind);
      if (!points.length) continue;
      const chosen = points.map((point) => point.roles.includes("recommended"));
      traces.push({
        x: points.map((point) => point.x[0]), y: points.map((point) => point.y[0]), type: "scatter", mode: "markers", name: kind,
        error_x: error(points, "x", name), error_y: error(points, "y", name),
        marker: {
          color: chosen.map((here) => color(here ? "good" : name)), symbol: chosen.map((here) => (here ? "star" : symbol)),
          size: chosen.map((here) => (here ? 18 : size)), opacity: points.map((point) => (point.meets ? 1 : 0.55)),
        },
        text: points.map((point) => point.text.map(escapeHtml).join("<br>")), hovertemplate: "%{text}<extra></extra>",
      });
    }
    const all = (axis) => told.points.flatMap((point) => point[axis]);
    const x = of("x");
    const middle = (on("x", Math.min(...x)) + on("x", Math.max(...x))) / 2;
    const near = told.limits.filter(([bound]) => bound > Math.min(...x) / 3 && bound < 3 * Math.max(...x));
    const annotations = near.map(([bound, text]) => ({
      x: on("x", bound), y: 1, yref: "paper", yanchor: "bottom", text: escapeHtml(text), showarrow: false, font: { color: color("bad"), size: 11 },
    }));
    for (const point of told.points) {
      const named = point.roles.filter((role) => role !== "runner-up");
      if (named.length) annotations.push({
        x: on("x", point.x[0]), y: on("y", point.y[0]), text: named.join(", "), showarrow: true, arrowhead: 0, arrowcolor: color("soft"),
        ...(on("x", point.x[0]) > middle ? { ax: -20, xanchor: "right" } : { ax: 20, xanchor: "left" }), ay: -26, font: { color: color("ink"), size: 11 },
      });
    }
    return [traces, layout({
      annotations,
      shapes: near.map(([bound]) => ({
        type: "line", x0: bound, x1: bound, yref: "paper", y0: 0, y1: 1, line: { color: color("bad"), width: 1.5, dash: "dash" }, layer: "below",
      })),
      xaxis: { title: { text: escapeHtml(told.x) }, ...spanned([...all("x"), ...near.map(([bound]) => bound)], log.x) },
      yaxis: { title: { text: escapeHtml(told.y) }, ...spanned(all("y"), log.y, 0.2) },
      showlegend: true, legend: { orientation: "h", x: 0, y: -0.2 },
    })];
  },

  history(told, width) {
    const stored = sessions(told);
    const words = stored.map((session) => `${session.time}<br>${session.commit ?? "no commit"}<br>${kindOf(session)}`.replaceAll("T", " "));
    const at = [...stored.keys()];
    const trace = (found, options) => ({
      x: found, y: found.map((index) => stored[index].joules), type: "scatter", mode: "markers",
      error_y: { type: "data", array: found.map((index) => (stored[index].spread ?? 0) * stored[index].joules), thickness: 1, width: 3 },
      text: found.map((index) => words[index]), hovertemplate: "%{y} " + escapeHtml(told.unit) + "<br>%{text}<extra></extra>",
      ...options,
    });
    const symbol = (found) => found.map((index) => (stored[index].anchor ? "star" : stored[index].own ? "diamond" : "circle-open"));
    const own = at.filter((index) => stored[index].own);
    const others = at.filter((index) => !stored[index].own);
    const today = stored.length;
    const traces = [];
    if (others.length) traces.push(trace(others, { marker: { color: color("soft"), size: 9, symbol: symbol(others) } }));
    if (own.length) traces.push(trace(own, { mode: "lines+markers", line: { color: color("third"), width: 1, dash: "dot" }, marker: { color: color("third"), size: 9, symbol: symbol(own) } }));
    traces.push({
      x: [today], y: [told.today], type: "scatter", mode: "markers", marker: { color: color("series"), size: 12 },
      error_y: told.interval ? { type: "data", symmetric: false, array: [told.interval[1] - told.today], arrayminus: [told.today - told.interval[0]], thickness: 1.5, width: 4 } : undefined,
      hovertemplate: "today: %{y} " + escapeHtml(told.unit) + "<extra></extra>",
    });
    const values = [...stored.flatMap((s) => [s.joules * (1 - (s.spread ?? 0)), s.joules * (1 + (s.spread ?? 0))]), ...(told.interval ?? [])];
    // As much of a time as tells sessions apart, and as many labels as there is room for, counted from the newest.
    const days = stored.map((session) => session.time.slice(0, 10));
    const [from, to] = [new Set(days.map((day) => day.slice(0, 4))).size > 1 ? 0 : 5, new Set(days).size < days.length ? 16 : 10];
    const longest = Math.max(to - from, ...stored.map((session) => session.commit?.length ?? 0));
    const every = Math.ceil((stored.length + 1) * (7 * longest + 8) / Math.max(width - 80, 100));
    const label = (session, index) => ((today - index) % every ? "" : escapeHtml(session.time.slice(from, to).replace("T", " "))
      + (session.commit ? `<br>${escapeHtml(session.commit)}` : ""));
    return [traces, layout({
      ...marks(told, "y"),
      xaxis: { tickvals: [...at, today], ticktext: [...stored.map(label), "today"], range: [-0.5, today + 0.7], showgrid: false, tickangle: 0 },
      yaxis: { title: { text: escapeHtml(told.unit) }, range: range(told, values), nticks: 6 },
    })];
  },
};

// Numbers that one axis does not hold but by their logarithms.
const wide = (values) => Math.max(...values) > 8 * Math.min(...values);

// An axis of values: what a plain one is marked at is told by 1, 2 and 5 on one of logarithms.
function spanned(values, log, above = 0.08) {
  const on = log ? values.map(Math.log10) : values;
  const [low, high] = [Math.min(...on), Math.max(...on)];
  const span = high - low || 0.1 * Math.abs(high) || 1;
  const range = [low - 0.08 * span, high + above * span];
  if (!log) return { range, nticks: 6 };
  const decades = Array.from({ length: Math.ceil(range[1]) - Math.floor(range[0]) }, (_, index) => 10 ** (Math.floor(range[0]) + index));
  const tickvals = decades.flatMap((decade) => [1, 2, 5].map((step) => step * decade));
  return { type: "log", range, tickvals, ticktext: tickvals.map((value) => number(value)) };
}

// Points of one row side by side, so that none hides another.
const spreadOut = (index, count) => (count < 2 ? 0 : 0.44 * (index / (count - 1) - 0.5));

// Plotly reads a little markup in its texts.
const escapeHtml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const tables = {
  blocks: (told) => [["block", told.unit], told.blocks.map((value, index) => [index + 1, number(value, 6)])],
  power(told) {
    const { s, w, mhz, c } = told.power;
    const times = column(s, 1);
    const [watts, clock, degrees] = [w, mhz, c].map((values) => column(values, times.length));
    return [["s", "W", "SM MHz", "°C"], times.map((time, index) => [time, number(watts[index]), number(clock[index]), number(degrees[index])])];
  },
  history: (told) => [
    ["recorded", told.unit, "spread of blocks", "seconds per unit", "commit", "from"],
    sessions(told).map((session) => [
      session.time, number(session.joules, 6), session.spread === null ? "–" : `${(100 * session.spread).toFixed(2)}%`,
      number(session.seconds), session.commit ?? "–", kindOf(session),
    ]),
  ],
};

function tabulate(details, chart, told) {
  if (details.querySelector("table")) return;
  const [heads, lines] = tables[chart](told);
  const made = make("table", undefined, { class: "plain" });
  made.append(make("caption", details.querySelector("summary").textContent, { class: "hidden" }));
  const head = made.createTHead().insertRow();
  for (const name of heads) head.append(make("th", name, { scope: "col" }));
  const body = made.createTBody();
  for (const [first, ...others] of lines) {
    const row = body.insertRow();
    row.append(make("th", first, { scope: "row" }), ...others.map((cell) => make("td", cell)));
  }
  const scroll = make("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": details.querySelector("summary").textContent });
  scroll.append(made);
  details.append(scroll);
}

async function draw(article, again = false) {
  const told = data[article.id];
  for (const figure of article.querySelectorAll("figure[data-chart]")) {
    const [chart, plot, details] = [figure.dataset.chart, figure.querySelector(".plot"), figure.querySelector("details")];
    if (details && !details.dataset.ready) {
      details.dataset.ready = "yes";
      details.addEventListener("toggle", () => tabulate(details, chart, told));
    }
    if (plot.dataset.drawn && !again) continue;
    try {
      const [traces, shape] = charts[chart](told, plot.clientWidth);
      await (await plotly()).react(plot, traces, shape, { displayModeBar: false, responsive: true, showTips: false });
      plot.dataset.drawn = "yes";
    } catch (error) {
      plot.classList.add("failed");
      plot.textContent = `This browser cannot draw it (${error.message}): the numbers are in the table below.`;
      plot.removeAttribute("role");
      plot.removeAttribute("aria-label");
    }
  }
  article.dataset.charts = "done";
}

// -- theme --

const THEMES = ["auto", "light", "dark"];
const button = document.getElementById("theme");

function kept() {
  try {
    return localStorage.getItem("pytest-joules-theme");
  } catch {
    return null; // a file that was opened in private
  }
}

function keep(theme) {
  try {
    localStorage.setItem("pytest-joules-theme", theme);
  } catch {
    // It holds for this page only.
  }
}

function show(theme) {
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  button.querySelector("span").textContent = theme;
  for (const article of document.querySelectorAll("[data-charts]")) draw(article, true);
}

button.hidden = false;
button.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
  keep(next);
  show(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(root.dataset.theme ?? "auto"));
show(THEMES.includes(kept()) ? kept() : "auto");

if (table) {
  startTable();
  const near = () => plotly().catch(() => {}); // a chart says what is wrong
  table.tBodies[0].addEventListener("pointerover", near, { once: true });
  table.tBodies[0].addEventListener("focusin", near, { once: true });
  (window.requestIdleCallback ?? setTimeout)(() => unpacked().catch(() => {}));
}
const seen = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    seen.unobserve(target);
    draw(target);
  }
});
for (const section of document.querySelectorAll("section.sweep")) seen.observe(section);
addEventListener("hashchange", opened);
opened();
root.dataset.ready = "yes";
