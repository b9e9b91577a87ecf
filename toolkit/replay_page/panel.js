// Figures, legend and packets beside the picture, and the strip of activity below it.

const by = (id) => document.getElementById(id);

class Panel {
  constructor(replay, act) {
    this.replay = replay;
    this.act = act;
    this.shownPackets = "";
    by("name").textContent = replay.title;
    by("what").textContent = replay.subtitle;
    by("from").textContent = clock(replay.from, 0);
    by("to").textContent = clock(replay.to, 0);
    this.legend();
    this.losses();
  }

  legend() {
    const meaning = {
      decoded: "decoded", collision: "collision", noise: "too weak, lost in noise", half_duplex: "receiver was sending", in_flight: "cut off by the end",
    };
    this.arrivals = this.replay.outcomes.map((name) => {
      const item = document.createElement("li");
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 44;
      canvas.style.width = canvas.style.height = "22px";
      canvas.dataset.sign = name;
      const text = document.createElement("span");
      text.textContent = meaning[name] || words(name);
      const number = document.createElement("b");
      item.append(canvas, text, number);
      by("legend").append(item);
      return number;
    });
    this.paintSigns();
  }

  paintSigns() {
    const style = getComputedStyle(document.documentElement);
    for (const canvas of document.querySelectorAll("canvas[data-sign]")) {
      const pen = canvas.getContext("2d");
      pen.setTransform(2, 0, 0, 2, 0, 0);
      pen.clearRect(0, 0, 22, 22);
      const name = canvas.dataset.sign;
      sign(pen, name, 11, 11, 6.5, style.getPropertyValue("--" + (OUTCOME_INK[name] || "unfinished")).trim());
    }
  }

  losses() {
    this.bars = this.replay.endings.lost.map(([reason]) => {
      const item = document.createElement("li");
      const text = document.createElement("span");
      text.textContent = words(reason);
      const room = document.createElement("span");
      const bar = document.createElement("i");
      room.append(bar);
      const number = document.createElement("b");
      item.append(text, room, number);
      by("losses").append(item);
      return { item, bar, number };
    });
  }

  show(t, followed) {
    const n = this.replay.counters(t);
    by("n-created").textContent = n.created;
    by("n-delivered").textContent = n.delivered;
    by("n-lost").textContent = n.allLost;
    by("n-underway").textContent = n.underway;
    const most = Math.max(1, ...n.lost.map(([, lost]) => lost));
    n.lost.forEach(([, lost], k) => {
      this.bars[k].item.hidden = lost === 0;
      this.bars[k].bar.style.width = `${(100 * lost) / most}%`;
      this.bars[k].number.textContent = lost;
    });
    n.arrivals.forEach((number, k) => (this.arrivals[k].textContent = number));
    by("frames").textContent = `of ${n.sent} frames sent, at modems that could have locked`;
    this.recent(t, followed);
    if (followed >= 0) this.follow(t, followed);
    by("followed").hidden = followed < 0;
    return n;
  }

  // The packets created last.
  recent(t, followed) {
    const { packet } = this.replay;
    const rows = [];
    for (let k = countTo(packet.created, t) - 1; k >= 0 && rows.length < 9; k--) rows.push(k);
    const text = (k) => {
      const fate = this.replay.fate(k);
      if (fate === "in_flight" || packet.end[k] > t) return ["under way", ""];
      if (fate === "delivered") return [`delivered, ${(packet.end[k] - packet.created[k]).toFixed(1)} s`, "s-delivered"];
      return [`lost: ${words(fate)}`, "s-lost"];
    };
    const key = rows.map((k) => `${k}${text(k)[0]}`).join() + followed;
    if (key === this.shownPackets) return;
    this.shownPackets = key;
    by("recent").replaceChildren(...rows.map((k) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.title = "Follow this packet";
      const [state, look] = text(k);
      button.append(span(`#${packet.id[k]}`), span(state, look), span(`node ${packet.node[k]}`, "dim"));
      if (packet.id[k] === followed) button.setAttribute("aria-pressed", "true");
      button.onclick = () => this.act.follow(packet.id[k]);
      item.append(button);
      return item;
    }));
    if (!rows.length) by("recent").append(span("none yet", "dim"));
  }

  // The story of one packet.
  follow(t, id) {
    const { replay } = this;
    const row = replay.row.get(id);
    const frames = replay.framesOf.get(id) || [];
    const way = new Set(replay.wayOf(id, t).map((j) => replay.sender[j]));
    const key = `${id}:${frames.filter((i) => replay.tx.t[i] <= t).length}:${[...way].join()}:${row !== undefined && [replay.packet.created[row] <= t, replay.packet.end[row] <= t]}`;
    if (key === this.shownStory) return;
    this.shownStory = key;
    const box = by("followed");
    const head = document.createElement("div");
    head.className = "head";
    const title = document.createElement("b");
    title.textContent = `Packet ${id}`;
    const again = document.createElement("button");
    again.textContent = "replay";
    again.title = "Play from its creation";
    again.onclick = () => this.act.again(id);
    again.disabled = row === undefined;
    const close = document.createElement("button");
    close.textContent = "×";
    close.setAttribute("aria-label", "Follow no packet");
    close.onclick = () => this.act.follow(-1);
    head.append(title, again, close);
    const story = document.createElement("p");
    story.className = "dim";
    const list = document.createElement("ol");
    if (row !== undefined) {
      const p = replay.packet;
      const fate = replay.fate(row);
      const over = fate !== "in_flight" && p.end[row] <= t;
      const took = (p.end[row] - p.created[row]).toFixed(2);
      story.textContent = `${p.nbytes[row]} bytes of node ${p.node[row]}, created ${clock(p.created[row], 1)}; ` + (
        t < p.created[row] ? "not yet" : !over ? "under way" : fate === "delivered" ? `delivered at sink ${p.sink[row]} after ${took} s in ${way.size} hop${way.size === 1 ? "" : "s"}`
          : `lost after ${took} s: ${words(fate)}`);
    }
    const start = row === undefined ? (frames.length ? replay.tx.t[frames[0]] : t) : replay.packet.created[row];
    list.append(...frames.map((i) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      let decoded = 0;
      for (let j = replay.tx.first[i]; j < replay.tx.first[i + 1]; j++) decoded += replay.rx.outcome[j] === replay.decoded;
      const all = replay.tx.first[i + 1] - replay.tx.first[i];
      const to = replay.tx.peer[i] < 0 ? "all" : replay.tx.peer[i];
      button.textContent = `+${(replay.tx.t[i] - start).toFixed(2)} s  ${replay.tx.node[i]} → ${to}`;
      button.append(span(`  ${decoded} of ${all} decoded`, "dim"));
      button.title = "Go to this transmission";
      button.onclick = () => this.act.seek(replay.tx.t[i]);
      item.className = (way.has(i) ? "path " : "") + (replay.tx.t[i] > t ? "later" : "");
      item.append(button);
      return item;
    }));
    const keep = box.querySelector("ol") ? box.querySelector("ol").scrollTop : 0;
    box.replaceChildren(head, story, list);
    list.scrollTop = keep;
  }

  // Receptions per moment, missed ones on top of decoded ones; a mark below for every lost packet, one above for every frame of the
  // packet that is followed. The busiest hundredth of the moments is cut off, for the sake of the others.
  activity(followed) {
    const { replay } = this;
    const canvas = by("activity");
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const inset = 8; // the slider's thumb needs this
    const bins = Math.max(1, Math.floor((width - 2 * inset) / 3));
    const good = new Float64Array(bins);
    const bad = new Float64Array(bins);
    const bin = (t) => Math.min(bins - 1, Math.max(0, Math.floor(((t - replay.from) / (replay.to - replay.from)) * bins)));
    replay.ends.forEach((times, outcome) => {
      for (const t of times) (outcome === replay.decoded ? good : bad)[bin(t)] += 1;
    });
    const busy = good.map((value, k) => value + bad[k]).sort();
    const most = Math.max(1, busy[Math.floor(0.99 * (bins - 1))]);
    const style = getComputedStyle(document.documentElement);
    const ink = (name) => style.getPropertyValue("--" + name).trim();
    const base = height - 7;
    for (let k = 0; k < bins; k++) {
      const x = inset + ((width - 2 * inset) * k) / bins;
      const tall = (value) => Math.min(1, value / most) * (base - 6);
      pen.fillStyle = ink("decoded");
      pen.fillRect(x, base - tall(good[k]), 2, tall(good[k]));
      pen.fillStyle = ink("noise");
      pen.globalAlpha = 0.6;
      pen.fillRect(x, base - tall(good[k] + bad[k]), 2, tall(bad[k]));
      pen.globalAlpha = 1;
    }
    pen.fillStyle = ink("collision");
    const mark = (t, y) => pen.fillRect(inset + ((width - 2 * inset) * bin(t)) / bins, y, 2, 5);
    for (const [, times] of replay.endings.lost) for (const t of times) mark(t, height - 5);
    pen.fillStyle = ink("accent");
    for (const i of replay.framesOf.get(followed) || []) mark(replay.tx.t[i], 0);
  }
}

function span(text, look = "") {
  const element = document.createElement("span");
  element.textContent = text;
  if (look) element.className = look;
  return element;
}
