// What moves in the picture: wavefronts, frames on their way, arrivals, and what becomes of packets.

Object.assign(Scene.prototype, {
  // The sound of transmission i: everything between the front and the end of the frame, an ellipse where depth is stretched.
  wave(i, t) {
    const { tx, rx, speed } = this.replay;
    const outer = speed * (t - tx.t[i]);
    const inner = Math.max(0, speed * (t - tx.t[i] - tx.dur[i]));
    const last = tx.first[i + 1] - 1;
    const reach = speed * (last >= tx.first[i] ? rx.lag[last] : 0.3);
    if (inner > reach) return;
    const fade = Math.max(0, 1 - inner / reach);
    const [x, y] = this.place[tx.node[i]];
    const flat = this.scale * Math.hypot(this.sin[1], this.stretch * this.cos[1]);
    const mine = tx.packet[i] >= 0 && tx.packet[i] === this.followed;
    const pen = this.pen;
    pen.save();
    trace(pen, this.outline, true);
    pen.clip();
    pen.fillStyle = pen.strokeStyle = mine ? this.ink("accent") : this.ink("wave");
    pen.beginPath();
    pen.ellipse(x, y, this.scale * outer, flat * outer, 0, 0, 2 * Math.PI);
    if (inner > 0) pen.ellipse(x, y, this.scale * inner, flat * inner, 0, 0, 2 * Math.PI, true);
    const weight = mine ? 1 : this.crowd * this.weight(i);
    pen.globalAlpha = weight * (0.05 + 0.1 * fade);
    pen.fill();
    pen.globalAlpha = weight * (0.15 + 0.55 * fade);
    pen.lineWidth = mine ? 2.2 : 1.3;
    const kind = this.replay.kinds[tx.kind[i]];
    pen.setLineDash(kind === "data" ? [] : kind === "ack" ? [7, 4] : [2, 4]);
    pen.beginPath();
    pen.ellipse(x, y, this.scale * outer, flat * outer, 0, 0, 2 * Math.PI);
    pen.stroke();
    pen.restore();
  },

  // Frames of other packets step back while one packet is followed.
  weight(i) {
    return this.followed >= 0 && this.replay.tx.packet[i] !== this.followed ? 0.35 : 1;
  },

  wanted(i, node) {
    const peer = this.replay.tx.peer[i];
    return peer === node || peer === -1;
  },

  // The frame on its straight way to every modem that could hear it, in the colour of what will become of it there.
  rays(i, t) {
    const { tx, rx, decoded } = this.replay;
    const pen = this.pen;
    const begin = this.place[tx.node[i]];
    const behind = t - tx.t[i] - tx.dur[i];
    const weight = this.weight(i);
    for (let j = tx.first[i]; j < tx.first[i + 1]; j++) {
      const lag = rx.lag[j];
      if (behind > lag) continue;
      const node = rx.node[j];
      const wanted = this.wanted(i, node);
      if (!wanted && !this.show.rest) continue;
      const strong = wanted && (rx.outcome[j] === decoded || tx.peer[i] >= 0);
      const end = this.place[node];
      const [tail, head] = [Math.max(0, behind / lag), Math.min(1, (t - tx.t[i]) / lag)];
      const at = (share) => [begin[0] + share * (end[0] - begin[0]), begin[1] + share * (end[1] - begin[1])];
      pen.strokeStyle = this.colours[rx.outcome[j]];
      pen.lineWidth = strong ? 1.2 : 0.8;
      pen.globalAlpha = weight * (strong ? 0.35 : 0.14);
      trace(pen, [begin, end]);
      pen.stroke();
      pen.lineCap = "round";
      pen.lineWidth = strong ? 4.5 : 2;
      pen.globalAlpha = weight * (strong ? 0.95 : 0.5);
      const [from, to] = [at(tail), at(head)];
      trace(pen, [from, to]);
      pen.stroke();
      pen.lineCap = "butt";
      this.targets.push({ kind: "frame", i, j, from, to });
    }
    if (behind <= 0) { // the sender is sending
      pen.globalAlpha = 1;
      pen.strokeStyle = this.ink("accent");
      pen.lineWidth = 2.5;
      pen.beginPath();
      pen.arc(begin[0], begin[1], 9, 0, 2 * Math.PI);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  },

  // The signs of arrivals: while they last, and shortly after.
  arrivals(i, t) {
    const { tx, rx } = this.replay;
    for (let j = tx.first[i]; j < tx.first[i + 1]; j++) {
      const begin = tx.t[i] + rx.lag[j];
      const after = t - begin - tx.dur[i];
      if (t < begin || after > this.linger) continue;
      const wanted = this.wanted(i, rx.node[j]);
      if (!wanted && !this.show.rest) continue;
      const [x, y] = this.place[rx.node[j]];
      const fade = after > 0 ? 1 - after / this.linger : 1;
      const name = this.replay.outcomes[rx.outcome[j]];
      this.pen.globalAlpha = this.weight(i) * fade * (wanted || name === "collision" ? 1 : 0.5);
      sign(this.pen, name, x, y, (name === "decoded" ? 8.5 : 9) + 5 * (1 - fade), this.colours[rx.outcome[j]]);
      this.pen.globalAlpha = 1;
    }
  },

  // Words that rise where packets are created, dropped, delivered or lost.
  happenings(t) {
    const { drop, packet, drops } = this.replay;
    const stay = 2.4 * this.linger;
    const pen = this.pen;
    pen.font = "600 12px system-ui, sans-serif";
    const used = new Map();
    const say = (node, text, colour, age) => {
      const nth = used.get(node) || 0;
      used.set(node, nth + 1);
      if (nth > 3) return;
      const [x, y] = this.place[node];
      pen.globalAlpha = Math.min(1, 2 * (1 - age / stay));
      pen.textAlign = "center";
      pen.textBaseline = "bottom";
      pen.lineWidth = 3.5;
      pen.strokeStyle = this.ink("node-rim");
      pen.strokeText(text, x, y - 15 - 14 * nth);
      pen.fillStyle = colour;
      pen.fillText(text, x, y - 15 - 14 * nth);
      pen.globalAlpha = 1;
    };
    for (let k = countTo(drop.t, t) - 1; k >= 0 && drop.t[k] > t - stay; k--) {
      const reason = drops[drop.reason[k]];
      say(drop.node[k], words(reason), this.ink("faint"), t - drop.t[k]);
    }
    for (const k of this.replay.near(t, stay)) {
      if (packet.created[k] <= t && packet.created[k] > t - stay) {
        say(packet.node[k], `packet ${packet.id[k]}`, this.ink("accent"), t - packet.created[k]);
      }
      const fate = this.replay.fate(k);
      if (fate === "in_flight" || packet.end[k] > t || packet.end[k] <= t - stay) continue;
      if (fate === "delivered") say(packet.sink[k], `packet ${packet.id[k]} delivered`, this.ink("decoded"), t - packet.end[k]);
      else say(packet.node[k], `packet ${packet.id[k]} lost: ${words(fate)}`, this.ink("collision"), t - packet.end[k]);
    }
  },

  // The transmissions of the packet that is followed, and in bold the way it took.
  drawWay(t) {
    if (this.followed < 0) return;
    const { tx, rx, decoded } = this.replay;
    const pen = this.pen;
    pen.strokeStyle = pen.fillStyle = this.ink("accent");
    for (const i of this.replay.framesOf.get(this.followed) || []) {
      for (let j = tx.first[i]; j < tx.first[i + 1]; j++) {
        if (rx.outcome[j] !== decoded || this.replay.endOf(j) > t + TINY_S || !this.wanted(i, rx.node[j])) continue;
        pen.globalAlpha = 0.28;
        pen.lineWidth = 1.2;
        trace(pen, [this.place[tx.node[i]], this.place[rx.node[j]]]);
        pen.stroke();
      }
    }
    pen.globalAlpha = 1;
    this.replay.wayOf(this.followed, t).forEach((j, k) => {
      const [a, b] = [this.place[tx.node[this.replay.sender[j]]], this.place[rx.node[j]]];
      pen.lineWidth = 3.2;
      trace(pen, [a, b]);
      pen.stroke();
      const middle = [a[0] + 0.55 * (b[0] - a[0]), a[1] + 0.55 * (b[1] - a[1])];
      pen.beginPath();
      pen.arc(middle[0], middle[1], 9, 0, 2 * Math.PI);
      pen.fill();
      pen.save();
      pen.fillStyle = this.ink("node-rim");
      pen.font = "700 11px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillText(k + 1, middle[0], middle[1] + 0.5);
      pen.restore();
    });
    const row = this.replay.row.get(this.followed);
    if (row !== undefined) {
      const [x, y] = this.place[this.replay.packet.node[row]];
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, 11, 0, 2 * Math.PI);
      pen.stroke();
    }
  },

  // Links of one node, each with the SNR at which it was heard last.
  linksOf(node, t) {
    for (const pair of this.replay.linksAt(t, LINK_AGE_S)) if (pair[0] === node || pair[1] === node) this.linkLabel(pair, node);
  },

  linkLabel([a, b, there, back], from = -1) {
    const pen = this.pen;
    const shown = there >= 0 && back >= 0 ? (this.replay.rx.snr[there] + this.replay.rx.snr[back]) / 20 : this.replay.rx.snr[Math.max(there, back)] / 10;
    pen.strokeStyle = this.ink("accent");
    pen.lineWidth = 1.6;
    pen.globalAlpha = 0.8;
    trace(pen, [this.place[a], this.place[b]]);
    pen.stroke();
    pen.globalAlpha = 1;
    const [near, far] = from === b ? [this.place[b], this.place[a]] : [this.place[a], this.place[b]];
    const [x, y] = [near[0] + 0.62 * (far[0] - near[0]), near[1] + 0.62 * (far[1] - near[1])];
    const text = `${shown.toFixed(0)} dB`;
    pen.font = "600 11px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const wide = pen.measureText(text).width + 8;
    pen.fillStyle = this.ink("panel");
    pen.globalAlpha = 0.92;
    pen.beginPath();
    pen.roundRect(x - wide / 2, y - 8, wide, 16, 4);
    pen.fill();
    pen.globalAlpha = 1;
    pen.fillStyle = this.ink("ink");
    pen.fillText(text, x, y + 0.5);
  },
});

// Packets that were created or ended shortly before t.
Replay.prototype.near = function near(t, stay) {
  const found = new Set();
  const { packet } = this;
  for (let k = countTo(packet.created, t) - 1; k >= 0 && packet.created[k] > t - stay; k--) found.add(k);
  this.byEnd ||= Uint32Array.from(packet.end.keys()).sort((a, b) => packet.end[a] - packet.end[b]);
  this.endTimes ||= Float64Array.from(this.byEnd, (k) => packet.end[k]);
  for (let n = countTo(this.endTimes, t) - 1; n >= 0 && this.endTimes[n] > t - stay; n--) found.add(this.byEnd[n]);
  return found;
};

// The sign of an outcome, which differs in form as well as in colour.
function sign(pen, name, x, y, size, colour) {
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 2.4;
  pen.setLineDash([]);
  pen.beginPath();
  if (name === "collision") {
    const d = 0.75 * size;
    pen.moveTo(x - d, y - d);
    pen.lineTo(x + d, y + d);
    pen.moveTo(x + d, y - d);
    pen.lineTo(x - d, y + d);
  } else if (name === "half_duplex") {
    pen.arc(x, y, size, -Math.PI / 2, Math.PI / 2);
    pen.closePath();
  } else {
    if (name !== "decoded") pen.setLineDash([2.5, 3]);
    pen.arc(x, y, size, 0, 2 * Math.PI);
  }
  pen.stroke();
  pen.setLineDash([]);
}
