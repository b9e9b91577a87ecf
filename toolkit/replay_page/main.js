// Playing: the clock, the controls, the pointer and the keys.

const SPEEDS = [0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300];
const root = document.documentElement;
const replay = new Replay(JSON.parse(by("replay").textContent));
const scene = new Scene(replay, by("sea"));
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const state = { t: replay.from, playing: false, speed: 1, skip: true, view: "3d", stamp: 0, hash: "" };
const panel = new Panel(replay, { follow, seek, again });

function seek(t) {
  state.t = Math.min(replay.to, Math.max(replay.from, t));
  draw();
}

function follow(packet) {
  scene.followed = packet;
  panel.activity(packet);
  draw();
}

function again(packet) {
  seek(replay.packet.created[replay.row.get(packet)]);
  setPlaying(true);
}

function setPlaying(playing) {
  if (playing && state.t >= replay.to) state.t = replay.from;
  state.playing = playing;
  state.stamp = 0;
  by("play-sign").setAttribute("d", playing ? "M4 2h3v12H4zM9 2h3v12H9z" : "M4 2v12l10-6z");
  by("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  if (playing) requestAnimationFrame(step);
  else draw();
}

function setSpeed(speed) {
  state.speed = SPEEDS.reduce((best, each) => (Math.abs(Math.log(each / speed)) < Math.abs(Math.log(best / speed)) ? each : best));
  by("speed").value = state.speed;
  draw();
}

function changeSpeed(notches) {
  setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, SPEEDS.indexOf(state.speed) + notches))]);
}

function step(stamp) {
  if (!state.playing) return;
  const passed = state.stamp ? Math.min(0.1, (stamp - state.stamp) / 1000) : 0;
  state.stamp = stamp;
  let t = state.t + passed * state.speed;
  if (state.skip && passed && quiet(t)) {
    const next = replay.nextSending(t);
    t = next === null ? replay.to : Math.max(t, next - 0.15 * state.speed);
  }
  state.t = Math.min(t, replay.to);
  if (state.t >= replay.to) {
    setPlaying(false);
    return;
  }
  draw();
  requestAnimationFrame(step);
}

// Whether nothing is in the water, nothing was lately, and nothing will be shortly.
function quiet(t) {
  const next = replay.nextSending(t);
  return replay.around(t, 2 * scene.linger).length === 0 && (next === null || next - t > 0.5 * state.speed);
}

function draw() {
  const { t } = state;
  scene.linger = 0.45 * Math.min(state.speed, 20);
  scene.draw(t);
  const counters = panel.show(t, scene.followed);
  by("clock").textContent = clock(t);
  const slider = by("slider");
  slider.value = t;
  slider.setAttribute("aria-valuetext", clock(t, 1));
  if (scene.hover) tell(scene.hover);
  publish(t, counters);
}

// The state of the page in a form that a machine reads, and (at rest) as an address that leads back here.
function publish(t, n) {
  const way = scene.followed >= 0 ? replay.wayOf(scene.followed, t) : [];
  const route = way.length ? [replay.tx.node[replay.sender[way[0]]], ...way.map((j) => replay.rx.node[j])] : [];
  Object.assign(root.dataset, {
    t: t.toFixed(3), created: n.created, delivered: n.delivered, lost: n.allLost, underway: n.underway, sent: n.sent,
    decoded: n.arrivals[replay.decoded] ?? 0, inWater: scene.inWater, packet: scene.followed, route: route.join("-"), view: state.view,
  });
  if (state.playing) return;
  document.title = `${clock(t)} · ${replay.title}`;
  by("sea").setAttribute(
    "aria-label",
    `At ${clock(t, 1)}: ${scene.inWater} frames in the water, ${n.delivered} of ${n.created} packets delivered, ${n.allLost} lost`,
  );
  const hash = `#t=${+t.toFixed(3)}` + (scene.followed >= 0 ? `&packet=${scene.followed}` : "") + (state.view === "3d" ? "" : `&view=${state.view}`) +
    (state.speed === 1 ? "" : `&speed=${state.speed}`);
  if (hash !== state.hash) {
    state.hash = hash;
    try {
      history.replaceState(null, "", hash);
    } catch { /* some browsers refuse this for files, or for too many at once; the address is a convenience */ }
  }
}

function readHash(hash = location.hash) {
  if (hash === state.hash) return;
  const wish = new URLSearchParams(hash.slice(1));
  if (wish.has("theme")) setTheme(wish.get("theme") === "dark");
  if (wish.has("view")) setView(wish.get("view"), true);
  if (Number(wish.get("speed")) > 0) setSpeed(Number(wish.get("speed")));
  if (wish.has("packet")) {
    const packet = Number.parseInt(wish.get("packet"), 10);
    follow(replay.row.has(packet) ? packet : -1);
  }
  if (Number.isFinite(Number.parseFloat(wish.get("t")))) seek(Number.parseFloat(wish.get("t")));
  if (wish.get("play") === "1") setPlaying(true);
}

// Points of view

function setView(view, atOnce = false) {
  const goal = VIEWS[view];
  if (!goal) return;
  state.view = view;
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === view));
  const begin = [scene.turn, scene.tilt];
  const since = performance.now();
  const move = (now) => {
    const share = atOnce || calm.matches ? 1 : Math.min(1, (now - since) / 350);
    const eased = share * share * (3 - 2 * share);
    scene.turn = begin[0] + eased * (goal[0] - begin[0]);
    scene.tilt = begin[1] + eased * (goal[1] - begin[1]);
    draw();
    if (share < 1 && state.view === view) requestAnimationFrame(move);
  };
  move(since);
}

function turnBy(turn, tilt) {
  scene.turn += turn;
  scene.tilt = Math.min(Math.PI / 2, Math.max(0, scene.tilt + tilt));
  if (state.view !== "3d") {
    state.view = "3d";
    for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === "3d"));
  }
  draw();
}

function toggle(button, name) {
  scene.show[name] = !scene.show[name];
  by(button).setAttribute("aria-pressed", String(scene.show[name]));
  draw();
}

function setTheme(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  scene.inks.clear();
  panel.paintSigns();
  panel.activity(scene.followed);
  draw();
}

// The pointer

function nearestTo(x, y) {
  let best = null;
  let gap = 13;
  scene.place.forEach(([px, py], node) => {
    const away = Math.hypot(px - x, py - y);
    if (away < gap) [best, gap] = [{ kind: "node", node }, away];
  });
  if (best) return best;
  gap = 8;
  for (const target of scene.targets) {
    const away = toSegment(x, y, target.from, target.to);
    if (away < gap) [best, gap] = [target, away];
  }
  if (best || !scene.show.links) return best;
  gap = 5;
  for (const pair of scene.pairs || []) {
    const away = toSegment(x, y, scene.place[pair[0]], scene.place[pair[1]]);
    if (away < gap) [best, gap] = [{ kind: "link", pair }, away];
  }
  return best;
}

function toSegment(x, y, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const share = Math.max(0, Math.min(1, ((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(a[0] + share * dx - x, a[1] + share * dy - y);
}

const ago = (j) => `${Math.max(0, state.t - replay.beginOf(j)).toFixed(0)} s ago`;
const snr = (j) => `${(replay.rx.snr[j] / 10).toFixed(1)} dB`;

function tell(what) {
  const tip = by("tip");
  const lines = what.kind === "node" ? aboutNode(what.node) : what.kind === "link" ? aboutLink(what.pair) : aboutFrame(what);
  tip.replaceChildren(...lines);
  tip.hidden = false;
  tip.setAttribute("aria-live", state.playing ? "off" : "polite");
  const [x, y] = [what.x + 16, what.y + 16];
  tip.style.left = `${Math.min(x, scene.width - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.max(8, Math.min(y, scene.height - tip.offsetHeight - 8))}px`;
}

function line(...parts) {
  const element = document.createElement("div");
  element.append(...parts);
  return element;
}

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function aboutNode(node) {
  const depth = replay.at(scene.offset, node)[2];
  const pairs = replay.linksAt(state.t, LINK_AGE_S).filter(([a, b]) => a === node || b === node);
  const table = document.createElement("table");
  const best = ([, , there, back]) => Math.max(there < 0 ? -Infinity : replay.rx.snr[there], back < 0 ? -Infinity : replay.rx.snr[back]);
  for (const [a, b, there, back] of pairs.sort((p, q) => best(q) - best(p)).slice(0, 8)) {
    const [heard, hears] = a === node ? [there, back] : [back, there];
    const row = table.insertRow();
    row.insertCell().textContent = replay.isSink.has(a === node ? b : a) ? `sink ${a === node ? b : a}` : `node ${a === node ? b : a}`;
    for (const [mark, j] of [["→", heard], ["←", hears]]) {
      const cell = row.insertCell();
      cell.className = "n";
      cell.textContent = j < 0 ? "" : `${mark} ${snr(j)}`;
    }
  }
  const title = replay.isSink.has(node) ? `Sink ${node}` : `Node ${node}`;
  const where = replay.isSink.has(node) ? " at the surface" : `, ${depth.toFixed(0)} m deep`;
  return [line(bold(title), where), line(span(pairs.length ? "SNR when last heard: → there, ← here" : "not heard lately", "dim")), table];
}

function aboutLink([a, b, there, back]) {
  const [p, q] = [replay.at(scene.offset, a), replay.at(scene.offset, b)];
  const away = Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
  const lines = [line(bold(`${a} – ${b}`), `, ${away.toFixed(0)} m, ${(away / replay.speed).toFixed(2)} s`)];
  for (const [from, to, j] of [[a, b, there], [b, a, back]]) {
    if (j >= 0) lines.push(line(`${from} → ${to}: `, bold(snr(j)), span(` ${words(replay.outcomes[replay.rx.outcome[j]])}, ${ago(j)}`, "dim")));
  }
  return lines;
}

function aboutFrame({ i, j }) {
  const { tx, rx } = replay;
  const kind = words(replay.kinds[tx.kind[i]]);
  const packet = tx.packet[i] >= 0 ? ` of packet ${tx.packet[i]}` : "";
  const to = tx.peer[i] < 0 ? "to all" : `to ${tx.peer[i]}`;
  const ratio = rx.sinr[j] > -32768 ? `, SINR ${(rx.sinr[j] / 10).toFixed(1)} dB` : "";
  return [
    line(bold(kind + packet), `, ${tx.nbytes[i]} bytes`),
    line(`node ${tx.node[i]} ${to}, arriving at ${rx.node[j]}`),
    line(`SNR ${snr(j)}${ratio}: `, bold(words(replay.outcomes[rx.outcome[j]]))),
    line(span(tx.packet[i] >= 0 ? "click to follow the packet" : "", "dim")),
  ];
}

function listen() {
  const sea = by("sea");
  let grip = null;
  sea.addEventListener("pointerdown", (event) => {
    grip = { x: event.offsetX, y: event.offsetY, moved: false };
    sea.setPointerCapture(event.pointerId);
  });
  sea.addEventListener("pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    if (grip) {
      if (grip.moved || Math.hypot(x - grip.x, y - grip.y) > 4) {
        sea.classList.add("turning");
        turnBy((x - grip.x) * -0.006, (y - grip.y) * 0.006);
        grip = { x, y, moved: true };
      }
      return;
    }
    const found = nearestTo(x, y);
    scene.hover = found && { ...found, x, y };
    sea.classList.toggle("pointing", Boolean(found && found.kind === "frame"));
    by("tip").hidden = !found;
    if (!state.playing) draw();
  });
  sea.addEventListener("pointerup", (event) => {
    const clicked = grip && !grip.moved;
    grip = null;
    sea.classList.remove("turning");
    if (!clicked) return;
    const found = nearestTo(event.offsetX, event.offsetY);
    if (found && found.kind === "frame" && replay.tx.packet[found.i] >= 0) follow(replay.tx.packet[found.i]);
  });
  sea.addEventListener("pointerleave", () => {
    scene.hover = null;
    by("tip").hidden = true;
    if (!state.playing) draw();
  });
  by("slider").addEventListener("input", () => seek(Number(by("slider").value)));
  by("activity").addEventListener("pointerdown", (event) => {
    const share = (event.offsetX - 8) / (by("activity").clientWidth - 16);
    seek(replay.from + share * (replay.to - replay.from));
  });
  by("play").onclick = () => setPlaying(!state.playing);
  by("previous").onclick = () => jump(-1);
  by("next").onclick = () => jump(1);
  by("speed").onchange = () => setSpeed(Number(by("speed").value));
  by("skip").onchange = () => (state.skip = by("skip").checked);
  by("theme").onclick = () => setTheme(root.dataset.theme !== "dark");
  by("show-links").onclick = () => toggle("show-links", "links");
  by("show-waves").onclick = () => toggle("show-waves", "waves");
  by("show-rest").onclick = () => toggle("show-rest", "rest");
  by("help-button").onclick = () => help();
  by("help-close").onclick = () => help();
  by("help").addEventListener("close", () => by("help-button").setAttribute("aria-expanded", "false"));
  for (const button of document.querySelectorAll("[data-view]")) button.onclick = () => setView(button.dataset.view);
  addEventListener("hashchange", () => readHash());
  addEventListener("keydown", onKey);
  new ResizeObserver(() => {
    panel.activity(scene.followed);
    draw();
  }).observe(by("sea"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => setTheme(event.matches));
}

function help() {
  const dialog = by("help");
  if (dialog.open) dialog.close();
  else dialog.showModal();
  by("help-button").setAttribute("aria-expanded", String(dialog.open));
}

function jump(way) {
  setPlaying(false);
  const goal = way > 0 ? replay.nextSending(state.t + 1e-6) : replay.previousSending(state.t);
  if (goal !== null) seek(goal);
}

function otherPacket(way) {
  const { packet } = replay;
  const last = countTo(packet.created, state.t) - 1;
  const now = replay.row.get(scene.followed);
  const row = Math.min(packet.id.length - 1, Math.max(0, now === undefined ? last : now + way));
  if (!packet.id.length) return;
  seek(packet.created[row]);
  follow(packet.id[row]);
}

// The pointer's work without a pointer: what is known of one node after the other.
function nextNode(way) {
  const now = scene.hover && scene.hover.kind === "node" ? scene.hover.node : way > 0 ? -1 : 0;
  const node = (now + way + replay.count) % replay.count;
  scene.hover = { kind: "node", node, x: scene.place[node][0], y: scene.place[node][1] };
  draw();
}

function leave() {
  scene.hover = null;
  by("tip").hidden = true;
  follow(-1);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  if (by("help").open && event.key !== "?") return;
  const onButton = event.target.tagName === "BUTTON" || event.target.type === "checkbox";
  if (onButton && (event.key === " " || event.key === "Enter")) return;
  const little = 0.1 * state.speed * (event.shiftKey ? 10 : 1);
  const keys = {
    " ": () => setPlaying(!state.playing), ArrowLeft: () => seek(state.t - little), ArrowRight: () => seek(state.t + little),
    ",": () => jump(-1), ".": () => jump(1), "[": () => otherPacket(-1), "]": () => otherPacket(1), "-": () => changeSpeed(-1),
    "+": () => changeSpeed(1), "=": () => changeSpeed(1), Home: () => seek(replay.from), End: () => seek(replay.to), 1: () => setView("side"),
    2: () => setView("plan"), 3: () => setView("3d"), a: () => turnBy(-0.08, 0), d: () => turnBy(0.08, 0), l: () => toggle("show-links", "links"),
    w: () => toggle("show-waves", "waves"), o: () => toggle("show-rest", "rest"), t: () => setTheme(root.dataset.theme !== "dark"),
    n: () => nextNode(event.shiftKey ? -1 : 1), s: () => (state.skip = by("skip").checked = !state.skip), Escape: () => leave(), "?": help,
  };
  const act = keys[event.key] || keys[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
}

function begin() {
  const wish = location.hash;
  by("slider").min = replay.from;
  by("slider").max = replay.to;
  for (const speed of SPEEDS) by("speed").add(new Option(`${speed}×`, speed));
  by("speed").value = state.speed;
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  panel.paintSigns();
  panel.activity(scene.followed);
  setView("3d", true);
  listen();
  const first = replay.nextSending(replay.from);
  seek(first === null ? replay.from : first + 0.35);
  readHash(wish);
  root.dataset.ready = "yes";
}

begin();
