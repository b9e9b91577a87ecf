// What happened: the columns of the trace, and the questions that the picture asks of them. All times in s, distances in m.

const ARRAYS = {
  f8: Float64Array, f4: Float32Array, i4: Int32Array, u4: Uint32Array, i2: Int16Array, u2: Uint16Array, u1: Uint8Array,
};

function unpack(column) {
  const text = atob(column.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new ARRAYS[column.type](bytes.buffer);
}

function columns(table) {
  return Object.fromEntries(Object.entries(table).map(([name, column]) => [name, unpack(column)]));
}

// How many entries of a sorted array are <= value.
function countTo(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const TINY_S = 1e-5; // delays and durations are kept with seven digits

class Replay {
  constructor(source) {
    Object.assign(this, source);
    this.tx = columns(source.tx);
    this.rx = columns(source.rx);
    this.drop = columns(source.drop);
    this.packet = columns(source.packet);
    this.epoch = columns(source.epoch);
    this.isSink = new Set(source.sinks);
    this.count = source.nodes;
    this.decoded = source.outcomes.indexOf("decoded");
    this.prepare();
  }

  prepare() {
    const { tx, rx } = this;
    const many = tx.t.length;
    this.sender = new Uint32Array(rx.node.length); // transmission of each reception
    this.span = 0; // how long a transmission can be in the water
    const ends = this.outcomes.map(() => []);
    this.framesOf = new Map();
    for (let i = 0; i < many; i++) {
      if (tx.packet[i] >= 0) {
        if (!this.framesOf.has(tx.packet[i])) this.framesOf.set(tx.packet[i], []);
        this.framesOf.get(tx.packet[i]).push(i);
      }
      for (let j = tx.first[i]; j < tx.first[i + 1]; j++) {
        this.sender[j] = i;
        this.span = Math.max(this.span, rx.lag[j] + tx.dur[i]);
        ends[rx.outcome[j]].push(tx.t[i] + rx.lag[j] + tx.dur[i]);
      }
      this.span = Math.max(this.span, tx.dur[i]);
    }
    this.ends = ends.map((times) => Float64Array.from(times).sort());
    this.links = new Map(); // sender * count + receiver -> receptions in order of time
    for (let j = 0; j < rx.node.length; j++) {
      const link = tx.node[this.sender[j]] * this.count + rx.node[j];
      if (!this.links.has(link)) this.links.set(link, []);
      this.links.get(link).push(j);
    }
    this.row = new Map(); // packet number -> its row
    const created = [];
    const ended = { delivered: [], lost: new Map(), any: [] };
    for (let k = 0; k < this.packet.id.length; k++) {
      this.row.set(this.packet.id[k], k);
      created.push(this.packet.created[k]);
      const fate = this.fate(k);
      if (fate === "in_flight") continue;
      ended.any.push(this.packet.end[k]);
      if (fate === "delivered") ended.delivered.push(this.packet.end[k]);
      else {
        if (!ended.lost.has(fate)) ended.lost.set(fate, []);
        ended.lost.get(fate).push(this.packet.end[k]);
      }
    }
    const sorted = (times) => Float64Array.from(times).sort();
    this.created = sorted(created);
    this.endings = {
      any: sorted(ended.any), delivered: sorted(ended.delivered),
      lost: [...ended.lost].map(([reason, times]) => [reason, sorted(times)]).sort((a, b) => b[1].length - a[1].length),
    };
  }

  fate(row) {
    return this.fates[this.packet.fate[row]];
  }

  // Where everybody is at t: an offset into epoch.place, three numbers per node.
  placeAt(t) {
    return 3 * this.count * Math.max(0, countTo(this.epoch.t, t) - 1);
  }

  at(offset, node) {
    const p = this.epoch.place;
    const i = offset + 3 * node;
    return [p[i], p[i + 1], p[i + 2]];
  }

  beginOf(j) {
    return this.tx.t[this.sender[j]] + this.rx.lag[j];
  }

  endOf(j) {
    return this.beginOf(j) + this.tx.dur[this.sender[j]];
  }

  // Transmissions that are in the water at t, or have ended less than linger before.
  around(t, linger) {
    const found = [];
    const { tx, rx } = this;
    for (let i = countTo(tx.t, t) - 1; i >= 0 && tx.t[i] >= t - this.span - linger; i--) {
      const last = tx.first[i + 1] - 1;
      const reach = last >= tx.first[i] ? rx.lag[last] : 0;
      if (tx.t[i] + tx.dur[i] + reach + linger >= t) found.push(i);
    }
    return found;
  }

  nextSending(t) {
    const i = countTo(this.tx.t, t);
    return i < this.tx.t.length ? this.tx.t[i] : null;
  }

  previousSending(t) {
    const i = countTo(this.tx.t, t - 1e-6) - 1;
    return i >= 0 ? this.tx.t[i] : null;
  }

  counters(t) {
    const lost = this.endings.lost.map(([reason, times]) => [reason, countTo(times, t)]);
    const created = countTo(this.created, t);
    return {
      created, delivered: countTo(this.endings.delivered, t), lost, allLost: lost.reduce((sum, [, n]) => sum + n, 0),
      underway: created - countTo(this.endings.any, t), sent: countTo(this.tx.t, t), arrivals: this.ends.map((times) => countTo(times, t)),
    };
  }

  // The last reception on a link that began by t, or -1.
  lastOn(link, t) {
    const list = this.links.get(link);
    if (!list) return -1;
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.beginOf(list[middle]) <= t) low = middle + 1;
      else high = middle;
    }
    return low ? list[low - 1] : -1;
  }

  // Pairs of nodes that heard each other within the last age_s: [a, b, reception a->b or -1, reception b->a or -1].
  linksAt(t, ageS) {
    const pairs = new Map();
    for (const link of this.links.keys()) {
      const j = this.lastOn(link, t);
      if (j < 0 || t - this.beginOf(j) > ageS) continue;
      const from = Math.floor(link / this.count);
      const to = link % this.count;
      const key = Math.min(from, to) * this.count + Math.max(from, to);
      if (!pairs.has(key)) pairs.set(key, [Math.min(from, to), Math.max(from, to), -1, -1]);
      pairs.get(key)[from < to ? 2 : 3] = j;
    }
    return [...pairs.values()];
  }

  // The way a packet took: receptions from its source on, up to its delivery or to the last node that sent it by t.
  wayOf(packet, t) {
    const frames = this.framesOf.get(packet) || [];
    const { tx, rx } = this;
    const took = new Map(); // node -> the first reception by which it had the packet
    const source = this.row.has(packet) ? this.packet.node[this.row.get(packet)] : -1;
    for (const i of frames) {
      for (let j = tx.first[i]; j < tx.first[i + 1]; j++) {
        const node = rx.node[j];
        if (node === source || rx.outcome[j] !== this.decoded || this.endOf(j) > t + TINY_S) continue;
        if (tx.peer[i] !== -1 && tx.peer[i] !== node) continue;
        if (!took.has(node) || this.endOf(took.get(node)) > this.endOf(j)) took.set(node, j);
      }
    }
    let node = -1;
    const row = this.row.get(packet);
    if (row !== undefined && this.fate(row) === "delivered" && this.packet.end[row] <= t + TINY_S) node = this.packet.sink[row];
    else for (const i of frames) if (tx.t[i] <= t) node = tx.node[i];
    const way = [];
    const seen = new Set();
    while (took.has(node) && !seen.has(node)) {
      seen.add(node);
      way.unshift(took.get(node));
      node = tx.node[this.sender[took.get(node)]];
    }
    return way;
  }
}

function clock(t, digits = 2) {
  const scale = 10 ** digits;
  const total = Math.round(Math.max(0, t) * scale);
  const seconds = Math.floor(total / scale);
  const two = (value) => String(value).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const text = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  const rest = digits ? "." + String(total % scale).padStart(digits, "0") : "";
  return (days ? `${days} d ` : "") + text + rest;
}

function words(name) {
  return name.replaceAll("_", " ");
}
