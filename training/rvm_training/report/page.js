"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const COLOURS = getComputedStyle(document.documentElement);
const colour = (name) => COLOURS.getPropertyValue(`--${name}`).trim();
// Seven points of matplotlib's viridis: equal steps look equal.
const SCALE = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [122, 209, 81], [253, 231, 37]];

let track, shown = 0, playing = false, query = null;

/* Tokens of a frame, whose scalar products are cosines. */
function tokens(frame) {
  if (!frame.decoded) {
    const raw = atob(frame.tokens), count = track.steps.length;
    frame.decoded = new Float32Array(raw.length);
    for (let i = 0; i < raw.length; i++) {
      const byte = (raw.charCodeAt(i) << 24) >> 24;
      frame.decoded[i] = track.offsets[i % count] + byte * track.steps[i % count];
    }
  }
  return frame.decoded;
}

/* Pictures are decoded when they are needed; the last ones are kept. */
const pictures = new Map();
function picture(frame, name, type) {
  if (!frame[name]) return Promise.resolve(null);
  const key = `${track.camera}/${frame.index}/${name}`;
  if (!pictures.has(key)) {
    const image = new Image();
    image.src = `data:image/${type};base64,${frame[name]}`;
    pictures.set(key, image.decode().then(() => image));
    if (pictures.size > 240) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(key);
}

/* Cosine of every patch of a frame to the patch that was clicked. */
function cosines(frame) {
  const all = tokens(frame), count = track.steps.length, result = new Float32Array(all.length / count);
  for (let n = 0, at = 0; n < result.length; n++) {
    let sum = 0;
    for (let k = 0; k < count; k++) sum += all[at++] * query.token[k];
    result[n] = sum;
  }
  return result;
}

function scaled(value) {
  const place = Math.min(Math.max(value, 0), 1) * (SCALE.length - 1), low = Math.min(Math.floor(place), SCALE.length - 2);
  return SCALE[low].map((from, i) => from + (SCALE[low + 1][i] - from) * (place - low));
}

async function draw() {
  const frame = track.frames[shown], at = track, index = shown;
  const [image, pca, segmentation] = await Promise.all([
    picture(frame, "image", "jpeg"), picture(frame, "pca", "jpeg"), picture(frame, "segmentation", "png")]);
  if (at !== track || index !== shown) return;
  const width = pca.naturalWidth, height = pca.naturalHeight;
  const paint = (id, steps) => {
    const canvas = $(id);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    steps(context);
  };
  const put = (context, source, alpha = 1) => {
    context.globalAlpha = alpha;
    if (source) context.drawImage(source, 0, 0, width, height);
    context.globalAlpha = 1;
  };
  paint("input", (context) => put(context, image));
  paint("pca", (context) => put(context, pca));
  paint("segmentation", (context) => put(context, segmentation));
  paint("overlay", (context) => { put(context, image); put(context, segmentation, $("alpha").value / 100); });
  paint("similarity", (context) => similarity(context, frame, width, height));
  const time = track.times_s[frame.index], delay = track.delays_ms[frame.index];
  $("clock").textContent = `${time.toFixed(3)} s, frame ${frame.index + 1} of ${track.times_s.length}` +
    (delay === null ? "" : `, ${delay.toFixed(1)} ms`);
  $("slider").value = shown;
  document.body.dataset.frame = frame.index;
  plots.forEach((plot) => plot.draw());
  for (let ahead = 1; ahead <= 4; ahead++) {
    const next = track.frames[(shown + ahead) % track.frames.length];
    picture(next, "image", "jpeg"); picture(next, "pca", "jpeg"); picture(next, "segmentation", "png");
  }
}

function similarity(context, frame, width, height) {
  if (!query) return;
  const [rows, columns] = track.grid, values = cosines(frame);
  const map = new ImageData(columns, rows), low = Math.min(...values), high = Math.max(...values);
  let best = 0;
  values.forEach((value, n) => {
    if (value > values[best]) best = n;
    map.data.set([...scaled((value - low) / (high - low + 1e-6)), 255], 4 * n);
  });
  const small = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  small.getContext("2d").putImageData(map, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, height);
  const ring = (n, style) => {
    context.strokeStyle = style;
    context.lineWidth = Math.max(1, width / 200);
    context.strokeRect((n % columns) * width / columns, Math.floor(n / columns) * height / rows, width / columns, height / rows);
  };
  ring(best, colour("reset"));
  if (frame.index === query.frame) ring(query.patch, "#fff");
  $("probe").textContent = `${low.toFixed(3)} to ${high.toFixed(3)} here (±${track.cosine_error.toFixed(3)})`;
  document.body.dataset.best = best;
}

function probe(event) {
  const box = event.currentTarget.getBoundingClientRect(), [rows, columns] = track.grid, frame = track.frames[shown];
  const column = Math.min(columns - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * columns)));
  const row = Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * rows)));
  const patch = row * columns + column, count = track.steps.length;
  query = { patch, frame: frame.index, token: tokens(frame).slice(patch * count, (patch + 1) * count) };
  query.best = track.frames.map((each) => Math.max(...cosines(each)));
  document.body.dataset.patch = patch;
  makePlots();
  draw();
}

/* A plot over the time of the run, with events and the current frame marked. */
class Plot {
  constructor(title, name, points) {
    this.points = points.filter(([, value]) => value !== null && Number.isFinite(value));
    this.name = name;
    const values = this.points.map(([, value]) => value).sort((a, b) => a - b);
    const quantile = (share) => values[Math.min(values.length - 1, Math.floor(share * values.length))];
    const box = document.createElement("div");
    box.className = "plot";
    const text = document.createElement("span");
    text.textContent = values.length
      ? `${title}: median ${quantile(0.5).toPrecision(3)}, 95th percentile ${quantile(0.95).toPrecision(3)}, ` +
        `${values[0].toPrecision(3)} to ${values[values.length - 1].toPrecision(3)}`
      : `${title}: nothing recorded`;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", text.textContent);
    this.canvas.dataset.plot = name;
    this.canvas.addEventListener("click", (event) => {
      const where = this.canvas.getBoundingClientRect();
      goTo((event.clientX - where.left) / where.width * length());
    });
    box.append(text, this.canvas);
    $("plots").append(box);
    // Not by spreading them: a browser takes no hundred thousand arguments.
    this.top = (values.length ? Math.max(values[values.length - 1], 0) : 0) * 1.1 || 1;
    this.bottom = name === "match" && values.length ? Math.min(values[0], 1) - 0.05 : 0;
  }

  draw() {
    const ratio = window.devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
    const width = this.canvas.width = Math.round(box.width * ratio), height = this.canvas.height = Math.round(box.height * ratio);
    const context = this.canvas.getContext("2d"), x = (time) => time / length() * width;
    const y = (value) => height - (value - this.bottom) / (this.top - this.bottom) * height;
    for (const event of track.events) {
      context.fillStyle = colour(event.kind);
      context.fillRect(x(event.time_s) - ratio, 0, 2 * ratio, height);
    }
    context.strokeStyle = colour(this.name);
    context.lineWidth = 1.5 * ratio;
    context.beginPath();
    let last = null;
    for (const [time, value] of this.points) {
      // A line over a gap would tell of frames that were not there.
      if (last !== null && time - last <= track.max_gap_s) context.lineTo(x(time), y(value));
      else context.moveTo(x(time), y(value));
      last = time;
    }
    context.stroke();
    context.fillStyle = colour("soft");
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.fillText(this.top.toPrecision(3), 4 * ratio, 13 * ratio);
    context.fillText(this.bottom.toPrecision(2), 4 * ratio, height - 4 * ratio);
    context.fillStyle = "#fff";
    context.fillRect(x(track.times_s[track.frames[shown].index]) - ratio / 2, 0, ratio, height);
  }
}

let plots = [];
function makePlots() {
  $("plots").replaceChildren();
  const times = track.times_s;
  plots = [new Plot("Frames a second", "rate", times.slice(1).map((time, i) => [time, 1 / (time - times[i])]))];
  if (track.delay) plots.push(new Plot(`${track.delay}, ms`, "delay", times.map((time, i) => [time, track.delays_ms[i]])));
  if (query) plots.push(new Plot("Largest cosine to the clicked patch in each frame shown", "match",
    track.frames.map((frame, i) => [times[frame.index], query.best[i]])));
}

const length = () => Math.max(track.times_s[track.times_s.length - 1], 1e-3);

function show(index) {
  shown = index;
  position = track.times_s[track.frames[shown].index]; // Where it plays on.
  draw();
}

function goTo(time) {
  let best = 0;
  track.frames.forEach((frame, i) => {
    if (Math.abs(track.times_s[frame.index] - time) < Math.abs(track.times_s[track.frames[best].index] - time)) best = i;
  });
  show(best);
}

function step(by) {
  show((shown + by + track.frames.length) % track.frames.length);
}

let last = 0, position = 0;
function tick(now) {
  if (!playing) return;
  position += (now - last) / 1000 * Number($("speed").value);
  last = now;
  if (position > length()) position = 0;
  const before = shown;
  let next = 0;
  while (next + 1 < track.frames.length && track.times_s[track.frames[next + 1].index] <= position) next++;
  if (next !== before) { shown = next; draw(); }
  requestAnimationFrame(tick);
}

function play(on) {
  playing = on;
  $("play").textContent = on ? "Pause" : "Play";
  last = performance.now();
  position = track.times_s[track.frames[shown].index];
  if (on) requestAnimationFrame(tick);
}

function choose(index) {
  if (playing) play(false);
  track = data.tracks[index];
  shown = 0;
  query = null;
  $("probe").textContent = "click a patch in any picture";
  delete document.body.dataset.patch;
  $("slider").max = track.frames.length - 1;
  $("segmentation-kind").textContent = track.computed ? "Segmentation, computed for this page" : "Segmentation, as recorded";
  [...$("cameras").children].forEach((button, i) => button.setAttribute("aria-pressed", i === index));
  $("events-title").textContent = track.events.length ? `Events (${track.events.length})` : "No gap, reset or refused image";
  $("events").replaceChildren(...track.events.slice(0, 500).map((event) => {
    const row = document.createElement("tr"), go = document.createElement("button");
    go.type = "button";
    go.textContent = `${event.time_s.toFixed(3)} s`;
    go.addEventListener("click", () => goTo(event.time_s));
    const cells = [go, event.kind, event.text].map((content) => {
      const cell = document.createElement("td");
      cell.append(content);
      return cell;
    });
    cells[1].className = event.kind;
    row.append(...cells);
    return row;
  }));
  makePlots();
  draw();
}

$("title").textContent = data.title;
$("about").textContent = data.about;
$("warning").textContent = data.warning;
document.title = data.title;
if (data.tracks.length > 1) data.tracks.forEach((each, i) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = each.camera;
  button.addEventListener("click", () => choose(i));
  $("cameras").append(button);
});
for (const id of ["input", "pca", "segmentation", "overlay", "similarity"]) $(id).addEventListener("click", probe);
$("slider").addEventListener("input", (event) => show(Number(event.target.value)));
$("alpha").addEventListener("input", draw);
$("play").addEventListener("click", () => play(!playing));
window.addEventListener("resize", draw);
window.addEventListener("keydown", (event) => {
  if (event.target.tagName === "SELECT" || (event.target.type === "range" && event.key.startsWith("Arrow"))) return;
  if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); play(!playing); }
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
choose(0);
