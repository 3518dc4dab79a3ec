"use strict";
// Draws the backbone of a protein as a tube on a canvas: no library, nothing to load.
// Residues are points at the places of their Cα atoms, joined by a smooth curve.

const data = JSON.parse(document.getElementById("data").textContent);
const element = id => document.getElementById(id);
const canvas = element("view");
const pen = canvas.getContext("2d");

const STEPS = 6; // pieces of the curve between two residues
const RADIUS = 1.1; // of the tube in Å
const TORN = 6; // Å; neighbours are 3.8 Å apart (trans peptide bonds)
const chainColours = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#666666"];

let chains = [];
let centre = [0, 0, 0];
let reach = 1;
let turned = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
let zoom = 1;

const bandOf = plddt => data.bands.find(band => plddt >= band.lowest) || data.bands[data.bands.length - 1];
const query = () => data.queries[Number(element("query").value)];
const model = () => query().models[Number(element("model").value)];

// Columns of an ATOM record as the PDB format 3.3 has them.
function readChains(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith("ATOM") || line.slice(12, 16).trim() !== "CA") continue;
    const chain = line[21];
    if (!found.has(chain)) found.set(chain, []);
    found.get(chain).push({
      chain,
      name: line.slice(17, 20).trim(),
      number: line.slice(22, 26).trim(),
      place: [30, 38, 46].map(start => Number(line.slice(start, start + 8))),
      plddt: Number(line.slice(60, 66)),
    });
  }
  return [...found.values()];
}

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
const times = (matrix, v) => matrix.map(row => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
const joined = (a, b) => a.map(row => [0, 1, 2].map(k => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));

function rotation(angle, axis) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return axis === "y" ? [[c, 0, s], [0, 1, 0], [-s, 0, c]] : [[1, 0, 0], [0, c, -s], [0, s, c]];
}

// The curve of Catmull and Rom goes through every point.
function curve(a, b, c, d, t) {
  return [0, 1, 2].map(k => 0.5 * (2 * b[k] + (c[k] - a[k]) * t + (2 * a[k] - 5 * b[k] + 4 * c[k] - d[k]) * t * t
    + (3 * b[k] - a[k] - 3 * c[k] + d[k]) * t * t * t));
}

function isTorn() {
  const steps = chains.flatMap(chain => chain.slice(1).map((residue, k) => distance(residue.place, chain[k].place)));
  return steps.filter(step => step > TORN).length > steps.length / 2;
}

function colourOf(residue) {
  if (element("colour").value === "plddt") return bandOf(residue.plddt).colour;
  const number = chains.findIndex(chain => chain[0].chain === residue.chain);
  return chainColours[number % chainColours.length];
}

// Far pieces are paler, so that the eye sees the depth.
function faded(colour, depth) {
  const share = 0.55 * Math.min(1, Math.max(0, 0.5 - depth / (2 * reach)));
  const parts = [1, 3, 5].map(k => parseInt(colour.slice(k, k + 2), 16));
  return `rgb(${parts.map(part => Math.round(part + (255 - part) * share)).join(",")})`;
}

function project(place) {
  const [x, y, z] = times(turned, place.map((value, k) => value - centre[k]));
  const scale = zoom * 0.45 * Math.min(canvas.width, canvas.height) / reach;
  return [canvas.width / 2 + x * scale, canvas.height / 2 - y * scale, z, scale];
}

function pieces(chain, torn) {
  if (torn || chain.length < 2) return chain.map(residue => ({ residue, from: residue.place, to: residue.place }));
  const found = [];
  const at = k => chain[Math.min(chain.length - 1, Math.max(0, k))].place;
  for (let k = 0; k + 1 < chain.length; k++) {
    if (distance(at(k), at(k + 1)) > TORN) continue;
    for (let step = 0; step < STEPS; step++) {
      const [from, to] = [step, step + 1].map(n => curve(at(k - 1), at(k), at(k + 1), at(k + 2), n / STEPS));
      found.push({ residue: chain[step < STEPS / 2 ? k : k + 1], from, to });
    }
  }
  return found;
}

function draw() {
  const box = canvas.getBoundingClientRect();
  canvas.width = box.width * devicePixelRatio;
  canvas.height = box.height * devicePixelRatio;
  const torn = isTorn();
  const shown = chains.flatMap(chain => pieces(chain, torn)).map(piece => {
    const [from, to] = [project(piece.from), project(piece.to)];
    return { ...piece, from, to, depth: (from[2] + to[2]) / 2 };
  });
  shown.sort((a, b) => a.depth - b.depth);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const { residue, from, to, depth } of shown) {
    const width = Math.max(torn ? 10 : 2, 2 * RADIUS * from[3]);
    // An outline keeps crossing pieces apart; with square ends it does not cover its neighbours.
    for (const [colour, more, cap] of [["#444", 0.25 * width, torn ? "round" : "butt"], [faded(colourOf(residue), depth), 0, "round"]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width + more;
      pen.lineCap = cap;
      pen.beginPath();
      pen.moveTo(from[0], from[1]);
      pen.lineTo(to[0] + 0.01, to[1]);
      pen.stroke();
    }
  }
}

function hint() {
  element("place").textContent = isTorn()
    ? "The backbone is torn, so residues are drawn as balls"
    : "Point at a residue to read its pLDDT; drag to turn, scroll to zoom";
}

// The longest side of the structure lies across the page.
function reset() {
  const all = chains.flat().map(residue => residue.place);
  const sides = [0, 1, 2].map(k => {
    const values = all.map(place => place[k]);
    const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    centre[k] = (low + high) / 2;
    return high - low;
  });
  const order = [0, 1, 2].sort((a, b) => sides[b] - sides[a]);
  turned = order.map(k => [0, 1, 2].map(m => (m === k ? 1 : 0)));
  // A mirror image would be another molecule.
  const [a, b, c] = turned;
  const sign = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
  if (sign < 0) turned[2] = turned[2].map(value => -value);
  reach = Math.max(5, ...all.map(place => distance(place, centre)));
  zoom = 1;
}

function show() {
  element("scores").textContent = model().scores;
  chains = readChains(model().pdb);
  reset();
  hint();
  draw();
}

function nearest(x, y) {
  let best = null;
  let least = 15 * devicePixelRatio;
  for (const residue of chains.flat()) {
    const [px, py, z] = project(residue.place);
    const away = Math.hypot(px - x, py - y) - z / (1000 * reach);
    if (away < least) [least, best] = [away, residue];
  }
  return best;
}

function point(event) {
  const box = canvas.getBoundingClientRect();
  const residue = nearest((event.clientX - box.left) * devicePixelRatio, (event.clientY - box.top) * devicePixelRatio);
  if (!residue) return hint();
  const band = bandOf(residue.plddt);
  element("place").textContent = `Chain ${residue.chain}, ${residue.name} ${residue.number}: pLDDT ${residue.plddt.toFixed(1)} (${band.name})`;
}

canvas.onpointerdown = event => canvas.setPointerCapture(event.pointerId);
canvas.onpointermove = event => {
  if (!event.buttons) return point(event);
  turned = joined(rotation(event.movementX / 150, "y"), joined(rotation(event.movementY / 150, "x"), turned));
  draw();
};
canvas.onwheel = event => {
  event.preventDefault();
  zoom = Math.min(20, Math.max(0.2, zoom * Math.exp(-event.deltaY / 500)));
  draw();
};

function spin() {
  if (!element("spin").checked) return;
  turned = joined(rotation(0.012, "y"), turned);
  draw();
  requestAnimationFrame(spin);
}

function listModels() {
  element("model").replaceChildren(...query().models.map((item, number) => new Option(item.title, number)));
  show();
}

for (const band of data.bands) {
  const item = document.createElement("span");
  item.className = "band";
  const patch = document.createElement("i");
  patch.style.background = band.colour;
  item.append(patch, `${band.name} (${band.range})`);
  element("legend").append(item);
}
element("query").replaceChildren(...data.queries.map((item, number) => new Option(item.title, number)));
element("query").onchange = listModels;
element("model").onchange = show;
element("colour").onchange = draw;
element("spin").onchange = spin;
element("reset").onclick = () => { reset(); draw(); };
window.onresize = draw;
listModels();
