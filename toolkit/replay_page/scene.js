// The picture of the water: an orthographic view of a box, turned about the vertical and tilted between side (0) and plan (90 degrees).

const VIEWS = { side: [0, 0], plan: [0, Math.PI / 2], "3d": [-0.55, 0.42] };
const LINK_AGE_S = 600;

class Scene {
  constructor(replay, canvas) {
    this.replay = replay;
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.turn = VIEWS["3d"][0];
    this.tilt = VIEWS["3d"][1];
    this.show = { links: true, waves: true, rest: true };
    this.followed = -1;
    this.hover = null;
    this.linger = 0.5;
    this.linksTime = NaN;
    this.inks = new Map();
    this.measure();
  }

  // The box that holds all nodes, and how much depth is stretched to be seen.
  measure() {
    const p = this.replay.epoch.place;
    const low = [Infinity, Infinity, 0];
    const high = [-Infinity, -Infinity, 1];
    for (let i = 0; i < p.length; i += 3) {
      for (let axis = 0; axis < 3; axis++) {
        low[axis] = Math.min(low[axis], p[i + axis]);
        high[axis] = Math.max(high[axis], p[i + axis]);
      }
    }
    const wide = Math.max(high[0] - low[0], high[1] - low[1], 100);
    for (let axis = 0; axis < 2; axis++) {
      const middle = (low[axis] + high[axis]) / 2;
      const half = Math.max((high[axis] - low[axis]) / 2, 0.2 * wide) + 0.06 * wide;
      low[axis] = middle - half;
      high[axis] = middle + half;
    }
    const step = niceStep(high[2], 4);
    high[2] = Math.ceil((high[2] * 1.04) / step) * step;
    this.low = low;
    this.high = high;
    this.depthStep = step;
    this.flat = Math.max(1, Math.min(8, (0.42 * wide) / high[2])); // how much depth is stretched when the box is seen from above
  }

  fit() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.width = width;
    this.height = height;
    this.cos = [Math.cos(this.turn), Math.cos(this.tilt)];
    this.sin = [Math.sin(this.turn), Math.sin(this.tilt)];
    const across = Math.abs(this.cos[0]) * (this.high[0] - this.low[0]) + Math.abs(this.sin[0]) * (this.high[1] - this.low[1]);
    const full = Math.max(1, Math.min(8, (0.97 * across * (height - 96)) / (width - 110) / this.high[2])); // fills the picture from the side
    const level = this.cos[1] ** 24;
    this.stretch = Math.round(10 * (this.flat + level * (full - this.flat))) / 10;
    this.scale = 1;
    this.shift = [0, 0];
    const corners = this.corners();
    const xs = corners.map((c) => c[0]);
    const ys = corners.map((c) => c[1]);
    const spread = [Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)];
    this.scale = Math.min((width - 110) / spread[0], (height - 96) / spread[1]);
    this.shift = [
      width / 2 + 10 - (this.scale * (Math.max(...xs) + Math.min(...xs))) / 2,
      height / 2 + 4 - (this.scale * (Math.max(...ys) + Math.min(...ys))) / 2,
    ];
  }

  // Screen place of x, y, depth; the third number is how near it is to the eye.
  project([x, y, depth]) {
    const dx = x - (this.low[0] + this.high[0]) / 2;
    const dy = y - (this.low[1] + this.high[1]) / 2;
    const right = this.cos[0] * dx + this.sin[0] * dy;
    const away = -this.sin[0] * dx + this.cos[0] * dy;
    const up = -depth * this.stretch;
    return [
      this.shift[0] + this.scale * right,
      this.shift[1] - this.scale * (away * this.sin[1] + up * this.cos[1]),
      up * this.sin[1] - away * this.cos[1],
    ];
  }

  corners() {
    const { low, high } = this;
    const found = [];
    for (const depth of [0, high[2]]) {
      for (const [x, y] of [[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]]) found.push(this.project([x, y, depth]));
    }
    return found;
  }

  draw(t) {
    this.fit();
    this.t = t;
    this.offset = this.replay.placeAt(t);
    this.place = [];
    for (let node = 0; node < this.replay.count; node++) this.place.push(this.project(this.replay.at(this.offset, node)));
    this.targets = []; // what the pointer may mean: travelling frames
    this.colours = this.replay.outcomes.map((name) => this.ink(OUTCOME_INK[name] || "unfinished"));
    const pen = this.pen;
    pen.clearRect(0, 0, this.width, this.height);
    this.water();
    const flying = this.replay.around(t, this.linger);
    this.crowd = Math.min(1, 10 / Math.max(1, flying.length)); // many waves at once are drawn fainter
    if (this.show.links) this.drawLinks(t);
    this.moorings();
    this.drawWay(t);
    if (this.show.waves) for (const i of flying) this.wave(i, t);
    for (const i of flying) this.rays(i, t);
    this.nodes();
    for (const i of flying) this.arrivals(i, t);
    this.happenings(t);
    if (this.hover && this.hover.kind === "node") this.linksOf(this.hover.node, t);
    if (this.hover && this.hover.kind === "link") this.linkLabel(this.hover.pair);
    this.inWater = flying.filter((i) => this.flies(i, t)).length;
  }

  // A colour of the style sheet.
  ink(name) {
    if (!this.inks.has(name)) this.inks.set(name, getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim());
    return this.inks.get(name);
  }

  flies(i, t) {
    const { tx, rx } = this.replay;
    const last = tx.first[i + 1] - 1;
    return t <= tx.t[i] + tx.dur[i] + (last >= tx.first[i] ? rx.lag[last] : 0);
  }

  water() {
    const pen = this.pen;
    const corner = this.corners();
    const outline = hull(corner);
    this.outline = outline;
    const ys = corner.map((c) => c[1]);
    const fill = pen.createLinearGradient(0, Math.min(...ys), 0, Math.max(...ys));
    fill.addColorStop(0, this.ink("water-top"));
    fill.addColorStop(1, this.ink("water-deep"));
    trace(pen, outline, true);
    pen.fillStyle = fill;
    pen.fill();
    trace(pen, corner.slice(4), true); // the bed
    pen.globalAlpha = 0.4;
    pen.fillStyle = this.ink("bed");
    pen.fill();
    pen.globalAlpha = 0.28 * Math.min(1, this.sin[1] * 3); // the surface, seen from above
    trace(pen, corner.slice(0, 4), true);
    pen.fillStyle = this.ink("water-top");
    pen.fill();
    pen.globalAlpha = 1;
    pen.strokeStyle = this.ink("edge");
    pen.lineWidth = 1;
    pen.globalAlpha = 0.55;
    for (let k = 0; k < 4; k++) {
      trace(pen, [corner[k], corner[k + 4]]);
      pen.stroke();
    }
    trace(pen, corner.slice(4), true);
    pen.stroke();
    pen.globalAlpha = 1;
    pen.lineWidth = 1.6;
    trace(pen, corner.slice(0, 4), true);
    pen.stroke();
    this.axes(corner);
  }

  axes(corner) {
    const pen = this.pen;
    pen.fillStyle = this.ink("faint");
    pen.strokeStyle = this.ink("edge");
    pen.font = "11px system-ui, sans-serif";
    pen.lineWidth = 1;
    if (this.cos[1] > 0.25) { // depths along the leftmost upright edge
      const left = [0, 1, 2, 3].reduce((best, k) => (corner[k][0] < corner[best][0] - 1e-6 ? k : best), 0);
      const [top, bottom] = [corner[left], corner[left + 4]];
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (let depth = 0; depth <= this.high[2] + 1e-9; depth += this.depthStep) {
        const share = depth / this.high[2];
        const y = top[1] + share * (bottom[1] - top[1]);
        trace(pen, [[top[0] - 5, y], [top[0], y]]);
        pen.stroke();
        pen.fillText(depth ? `${depth} m` : "surface", top[0] - 9, y);
      }
    }
    const length = niceStep((this.width * 0.22) / this.scale, 1);
    const right = this.width - 20;
    const y = this.height - 22;
    trace(pen, [[right - length * this.scale, y - 4], [right - length * this.scale, y], [right, y], [right, y - 4]]);
    pen.strokeStyle = this.ink("faint");
    pen.stroke();
    pen.textAlign = "right";
    pen.textBaseline = "top";
    const stretched = this.stretch > 1 && this.cos[1] > 0.05 ? `, depth drawn ${this.stretch} times larger` : "";
    pen.fillText(`${length >= 1000 ? length / 1000 + " km" : length + " m"} across${stretched}`, right, y + 5);
  }

  moorings() {
    if (this.cos[1] < 0.2) return;
    const pen = this.pen;
    pen.strokeStyle = this.ink("node");
    pen.globalAlpha = 0.16;
    pen.lineWidth = 1;
    for (let node = 0; node < this.replay.count; node++) {
      if (this.replay.isSink.has(node)) continue;
      const [x, y] = this.replay.at(this.offset, node);
      trace(pen, [this.place[node], this.project([x, y, this.high[2]])]);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  nodes() {
    const pen = this.pen;
    const order = this.place.map((_, node) => node).sort((a, b) => this.place[a][2] - this.place[b][2]);
    pen.font = "600 11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (const node of order) {
      const [x, y] = this.place[node];
      const sink = this.replay.isSink.has(node);
      pen.fillStyle = this.ink("node");
      pen.strokeStyle = this.ink("node-rim");
      pen.lineWidth = 1.5;
      pen.beginPath();
      if (sink) {
        pen.moveTo(x, y - 11);
        pen.lineTo(x + 8, y + 4);
        pen.lineTo(x - 8, y + 4);
        pen.closePath();
      } else pen.arc(x, y, 5, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
      if (this.replay.count <= 120) {
        pen.textAlign = "left";
        pen.lineWidth = 3;
        pen.globalAlpha = 0.85;
        pen.strokeText(sink ? `sink ${node}` : node, x + 9, sink ? y - 5 : y - 7);
        pen.globalAlpha = 1;
        pen.fillText(sink ? `sink ${node}` : node, x + 9, sink ? y - 5 : y - 7);
      }
    }
  }

  drawLinks(t) {
    if (!(Math.abs(t - this.linksTime) < this.linksEvery())) {
      this.pairs = this.replay.linksAt(t, LINK_AGE_S);
      this.linksTime = t;
    }
    const pen = this.pen;
    pen.strokeStyle = this.ink("node");
    for (const [a, b, there, back] of this.pairs) {
      pen.globalAlpha = 0.04 + 0.2 * Math.max(this.strength(there), this.strength(back));
      pen.lineWidth = 1;
      trace(pen, [this.place[a], this.place[b]]);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  linksEvery() {
    return this.replay.links.size > 5000 ? 30 : 0.5;
  }

  strength(j) {
    return j < 0 ? 0 : Math.max(0, Math.min(1, this.replay.rx.snr[j] / 200));
  }
}

const OUTCOME_INK = { decoded: "decoded", collision: "collision", noise: "noise", half_duplex: "half-duplex", in_flight: "unfinished" };

function trace(pen, points, closed = false) {
  pen.beginPath();
  points.forEach((p, k) => (k ? pen.lineTo(p[0], p[1]) : pen.moveTo(p[0], p[1])));
  if (closed) pen.closePath();
}

// 1, 2 or 5 times a power of ten, not above length / parts.
function niceStep(length, parts) {
  const rough = length / parts;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [5, 2, 1].map((k) => k * power).find((step) => step <= rough * 1.0001) || power;
}

// Convex outline of points.
function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (list) => {
    const chain = [];
    for (const p of list) {
      while (chain.length >= 2) {
        const [a, b] = chain.slice(-2);
        if ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0) break;
        chain.pop();
      }
      chain.push(p);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}
