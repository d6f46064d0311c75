// The table that grows by itself. Text from packets is only ever put in as text.
"use strict";

const byId = (id) => document.getElementById(id);
const table = byId("candidates");
const body = table.tBodies[0];
const SVG = "http://www.w3.org/2000/svg";

// The server is heard every second; after so long it counts as gone.
const SILENT_MS = 5000;
const AGAIN_MS = 3000;

/** Every row on the page: number -> { row, tr, cells, dot, standing }. */
const shown = new Map();
let source = null;
let applied = "";
let heardAt = performance.now();
let openStar = null;
let openPicture = null;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text; // said again, it would be read out again
}

// ---- the stream ----

function connect(where, problem = "") {
  const next = new EventSource(`events${where ? `?where=${encodeURIComponent(where)}` : ""}`);
  next.addEventListener("refused", (event) => {
    next.close();
    const refused = JSON.parse(event.data).problem;
    showProblem(refused);
    if (source === null) connect("", refused); // the page's own address asked for it: without a filter then
  });
  next.addEventListener("candidates", (event) => {
    if (source !== next) {
      source?.close();
      source = next;
      applied = where;
      showProblem(problem);
      const query = where ? `?where=${encodeURIComponent(where)}` : location.pathname;
      history.replaceState(null, "", query);
    }
    replaceAll(JSON.parse(event.data));
  });
  next.addEventListener("changes", (event) => source === next && change(JSON.parse(event.data)));
  next.addEventListener("standings", (event) => source === next && showStandings(JSON.parse(event.data)));
  next.addEventListener("health", (event) => {
    if (source !== next) return;
    heardAt = performance.now();
    showHealth(JSON.parse(event.data));
  });
  next.addEventListener("error", () => {
    // A browser connects again by itself, except where it was answered with an error.
    if (next.readyState !== EventSource.CLOSED) return;
    if (source === next || source === null) setTimeout(() => connect(where), AGAIN_MS);
  });
}

function showHealth(health) {
  byId("health").dataset.well = health.is_well;
  byId("mark").textContent = health.is_well ? "●" : "▲";
  const unread = health.n_unreadable;
  const also = unread ? ` ${unread} ${unread === 1 ? "message" : "messages"} could not be read as alerts.` : "";
  setText(byId("state"), `${sentence(health.text)}${also}`);
  byId("age").textContent = health.age_s === null ? "" : `Last heard ${health.age_s.toFixed(0)} s ago.`;
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

setInterval(() => {
  const silent = performance.now() - heardAt;
  if (silent < SILENT_MS) return;
  byId("health").dataset.well = "false";
  byId("mark").textContent = "▲";
  setText(byId("state"), "This page has lost its server: what it shows may be old. It keeps trying.");
  byId("age").textContent = `Last heard ${(silent / 1000).toFixed(0)} s ago.`;
}, 1000);

// ---- rows ----

function replaceAll(changes) {
  for (const one of shown.values()) one.dot?.remove();
  shown.clear();
  const rows = [...changes.rows].sort(compare).map((row) => add(row).tr);
  body.replaceChildren(...rows);
  finish(changes);
}

function change(changes) {
  for (const number of changes.gone) {
    const one = shown.get(number);
    one?.tr.remove();
    one?.dot?.remove();
    shown.delete(number);
  }
  for (const row of changes.rows) {
    const known = shown.get(row.number);
    if (known) fill(known, row);
    const one = known ?? add(row);
    one.tr.classList.remove("fresh");
    void one.tr.offsetWidth; // lets the animation begin again
    one.tr.classList.add("fresh");
    putInPlace(one);
  }
  if (changes.rows.length) {
    const last = changes.rows.at(-1);
    setText(byId("said"), last.is_retracted ? `${last.name} is retracted` : `${last.name}, p ${last.p_text}`);
  }
  finish(changes);
}

function finish(changes) {
  const n = shown.size;
  table.hidden = n === 0;
  byId("nothing").hidden = n > 0;
  const parts = [`${n} ${n === 1 ? "candidate" : "candidates"}`];
  if (n < changes.n_held) parts.push(`of ${changes.n_held}`);
  const dropped = changes.n_dropped;
  const lost = dropped ? ` ${dropped} older ${dropped === 1 ? "one was" : "ones were"} dropped.` : "";
  setText(byId("count"), `${parts.join(" ")}.${lost}`);
  setText(
    byId("nothing"),
    changes.n_held ? "None of the candidates passes the filter." : "No candidate yet: rows appear here by themselves.",
  );
  document.title = n ? `(${n}) Candidates tonight` : "Candidates tonight";
  setText(byId("sky-name"), `The candidates on the sky: ${n}`);
  if (openStar !== null) fillDialog();
}

const orders = {
  newest: (a, b) => b.published_s - a.published_s || b.number - a.number,
  likely: (a, b) => a.is_retracted - b.is_retracted || (b.p ?? -1) - (a.p ?? -1) || orders.newest(a, b),
  highest: (a, b) => a.is_retracted - b.is_retracted || altitude(b) - altitude(a) || orders.newest(a, b),
};

const altitude = (row) => shown.get(row.number)?.standing?.altitude ?? -90;

const compare = (a, b) => orders[document.querySelector("#order input:checked").value](a, b);

function add(row) {
  const one = { row, tr: element("tr"), cells: {}, dot: null, standing: null };
  one.tr.dataset.number = row.number;
  one.tr.setAttribute("role", "row");
  for (const head of table.tHead.rows[0].cells) {
    const cell = element("td", undefined, head.className);
    cell.setAttribute("role", "cell");
    cell.dataset.label = head.textContent;
    cell.classList.add(head.dataset.of);
    one.cells[head.dataset.of] = cell;
    one.tr.append(cell);
  }
  const button = element("button", "", "name");
  button.type = "button";
  button.addEventListener("click", () => openDialog(one.row.number));
  one.cells.star.append(button, element("span", "", "position soft"));
  one.tr.addEventListener("pointerenter", () => one.dot?.classList.add("near"));
  one.tr.addEventListener("pointerleave", () => one.dot?.classList.remove("near"));
  shown.set(row.number, one);
  fill(one, row);
  return one;
}

function fill(one, row) {
  one.row = row;
  const { cells } = one;
  one.tr.classList.toggle("retracted", row.is_retracted);
  const [button, position] = cells.star.children;
  button.replaceChildren(element(row.is_retracted ? "s" : "span", row.name));
  position.textContent = row.position;
  for (const of of ["time", "p_text", "feh", "cfe", "subclass", "snr", "magnitude"]) cells[of].textContent = row[of];
  const remarks = [];
  if (row.is_retracted) remarks.push(element("strong", "retracted", "badge"));
  for (const kind of row.kinds) remarks.push(element("span", kind, "badge"));
  for (const [flag] of row.flags) remarks.push(element("span", flag, "flag"));
  cells.remarks.replaceChildren(...remarks);
  drawDot(one);
}

function showStandings({ darkness, stars }) {
  setText(byId("darkness"), darkness);
  for (const [number, standing] of Object.entries(stars)) {
    const one = shown.get(Number(number));
    if (!one) continue;
    one.standing = standing;
    one.cells.standing.textContent = standing.text;
  }
  if (document.querySelector("#order input:checked").value === "highest") sortAll();
  if (openStar !== null) fillDialog();
}

function drawDot(one) {
  const { row } = one;
  if (!row.place) {
    one.dot?.remove();
    one.dot = null;
    return;
  }
  if (!one.dot) {
    one.dot = document.createElementNS(SVG, "circle");
    one.dot.append(document.createElementNS(SVG, "title"));
    one.dot.addEventListener("click", () => openDialog(one.row.number));
    byId("stars").append(one.dot);
  }
  one.dot.setAttribute("cx", row.place[0]);
  one.dot.setAttribute("cy", row.place[1]);
  one.dot.setAttribute("r", 6);
  one.dot.classList.toggle("retracted", row.is_retracted);
  one.dot.firstChild.textContent = row.is_retracted ? `${row.name}, retracted` : `${row.name}, p ${row.p_text}`;
}

function putInPlace(one) {
  const { tr, row } = one;
  const held = tr.contains(document.activeElement) ? document.activeElement : null;
  const after = [...body.rows].find((other) => other !== tr && compare(row, rowOf(other)) < 0) ?? null;
  if (tr.parentNode !== body || tr.nextElementSibling !== after) body.insertBefore(tr, after);
  held?.focus({ preventScroll: true }); // a row that moves would lose the focus
}

const rowOf = (tr) => shown.get(Number(tr.dataset.number))?.row;

function sortAll() {
  const held = document.activeElement;
  body.append(...[...shown.values()].sort((a, b) => compare(a.row, b.row)).map((one) => one.tr));
  held?.focus({ preventScroll: true });
}

// ---- one star ----

function openDialog(number) {
  openStar = number;
  openPicture = null;
  fillDialog();
  byId("star").showModal();
  byId("star").scrollTop = 0;
}

function fillDialog() {
  const row = shown.get(openStar)?.row;
  if (!row) {
    setText(byId("star-line"), "This star is no longer on the page.");
    return;
  }
  byId("star-name").replaceChildren(element(row.is_retracted ? "s" : "span", row.name));
  const state = row.is_retracted ? "retracted: no candidate any more" : `p(CEMP) ${row.p_text}, ${row.subclass}`;
  setText(byId("star-line"), `${row.position} · ${state}`);
  byId("star-links").replaceChildren(
    ...row.links.map(([name, address]) => {
      const link = element("a", name);
      link.href = address;
      link.rel = "noopener noreferrer";
      link.target = "_blank";
      return link;
    }),
  );
  const facts = [...(shown.get(openStar).standing?.facts ?? []), ...row.facts, ...row.flags.map(([flag, meaning]) => [`flag: ${flag}`, meaning || "—"])];
  byId("facts").replaceChildren(
    ...facts.map(([name, text]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", text));
      return pair;
    }),
  );
  if (openPicture !== row.picture) {
    openPicture = row.picture;
    byId("frame").hidden = true;
    setText(byId("picture-state"), "The picture is being drawn.");
    byId("picture").alt = `Spectrum of ${row.name}, with the evidence over wavelength and the named bands`;
    byId("picture").src = row.picture;
  }
}

byId("picture").addEventListener("load", () => {
  byId("frame").hidden = false;
  setText(byId("picture-state"), "");
});
byId("picture").addEventListener("error", () => {
  if (openPicture !== null) setText(byId("picture-state"), "The picture could not be drawn now; open the star again in a while.");
});
byId("star").addEventListener("close", () => {
  openStar = null;
  openPicture = null;
  byId("picture").removeAttribute("src");
});
byId("star").addEventListener("click", (event) => {
  if (event.target === byId("star")) byId("star").close(); // beside the sheet
});

// ---- filter and order ----

function showProblem(text) {
  const problem = byId("problem");
  problem.hidden = !text;
  setText(problem, text ? `The filter is not applied: ${text}` : "");
  if (text) byId("where").setAttribute("aria-invalid", "true");
  else byId("where").removeAttribute("aria-invalid");
}

byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  connect(byId("where").value.trim());
});
byId("clear").addEventListener("click", () => {
  byId("where").value = "";
  if (applied || !byId("problem").hidden) connect("");
});
for (const input of document.querySelectorAll("#order input")) input.addEventListener("change", sortAll);

byId("where").value = new URLSearchParams(location.search).get("where") ?? "";
connect(byId("where").value.trim());
