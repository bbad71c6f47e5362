// Shows the frames that /v1/events sends, one a second. All text goes in as text: an item's name is never markup.

const one = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const TICK = 950;
/** A screen reader is told so often at most, in milliseconds. */
const QUIET = 15000;

/** After so many milliseconds without a frame the page says that it stands still. */
const STALE = 6000;
/** Until a stream that was refused is asked for again. */
const AGAIN = 3000;

let latest = null;
let paused = false;
let isLost = false;
let heard = performance.now();

/* ---- numbers that run from one value to the next ---- */

const running = new Map();

function run(element, to, text) {
  const from = running.get(element)?.to ?? Number(element.dataset.value ?? to);
  element.dataset.value = to;
  if (still.matches || paused || document.hidden || from === to || to < from) {
    running.delete(element);
    write(element, text(to));
    return;
  }
  if (running.size === 0) requestAnimationFrame(step);
  running.set(element, { from, to, text, start: performance.now() });
}

function step(now) {
  for (const [element, { from, to, text, start }] of running) {
    const part = Math.min(1, Math.max(0, (now - start) / TICK));
    write(element, text(Math.round(from + (to - from) * part)));
    if (part === 1 || !element.isConnected) running.delete(element);
  }
  if (running.size > 0) requestAnimationFrame(step);
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/* ---- lists whose rows keep their elements while they move ---- */

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** `make` returns a row's element, `fill` writes its values. Rows hold still while somebody is about to press one of their buttons. */
function list(id, make, fill) {
  const place = one(id);
  const empty = place.nextElementSibling;
  const rows = new Map();
  let pointed = false;
  place.addEventListener("pointerenter", (event) => { pointed = event.pointerType === "mouse"; });
  place.addEventListener("pointerleave", () => { pointed = false; });
  return (entries) => {
    const held = place.childElementCount > 0 && (pointed || place.querySelector(":focus-visible") !== null);
    const wanted = new Map(entries.map((entry) => [entry.id, entry]));
    if (held) {
      for (const [key, row] of rows) if (wanted.has(key)) fill(row, wanted.get(key), entries);
      return;
    }
    for (const [key, row] of rows) {
      if (!wanted.has(key)) {
        row.remove();
        rows.delete(key);
      }
    }
    const before = still.matches ? null : new Map([...rows].map(([key, row]) => [key, row.offsetTop]));
    entries.forEach((entry, place_) => {
      if (!rows.has(entry.id)) rows.set(entry.id, make(entry));
      const row = rows.get(entry.id);
      fill(row, entry, entries);
      if (place.children[place_] !== row) place.insertBefore(row, place.children[place_] ?? null);
    });
    empty.hidden = entries.length > 0;
    for (const [key, top] of before ?? []) {
      const moved = top - (rows.get(key)?.offsetTop ?? top);
      if (moved) rows.get(key).animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 350, easing: "ease-out" });
    }
  };
}

const part = (value, largest) => String(largest > 0 ? Math.max(0, value / largest) : 0);

/* ---- likes and views of one's own ---- */

const store = {
  read: (key, otherwise) => { try { return JSON.parse(localStorage.getItem(key)) ?? otherwise; } catch { return otherwise; } },
  write: (key, value) => { try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* private window: kept until it closes */ } },
};
const actor = store.read("actor", null) ?? `page:${Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("")}`;
store.write("actor", actor);
const liked = new Set(store.read("liked", []));

async function ask(method, path, body) {
  try {
    const answer = await fetch(path, { method, headers: body ? { "content-type": "application/json" } : {}, body: body && JSON.stringify(body) });
    if (answer.ok) return await answer.json();
    const wait = answer.headers.get("retry-after");
    say(answer.status === 429 ? `Too many at once. Try again in ${wait} seconds.` : "That was not counted. Try again soon.", true);
  } catch {
    say("The gateway does not answer.", true);
  }
  return null;
}

async function toggleLike(button, id) {
  const like = !liked.has(id);
  const query = new URLSearchParams({ item: id, actor });
  const done = like ? await ask("POST", "/v1/likes", { item: id, actor }) : await ask("DELETE", `/v1/likes?${query}`);
  if (!done) return;
  if (like) liked.add(id); else liked.delete(id);
  store.write("liked", [...liked]);
  showLikes(button, id, done.likes);
  say(like ? `You like ${id}.` : `You no longer like ${id}.`, true);
}

function showLikes(button, id, likes) {
  write(button, `♥ ${short.format(likes)}`);
  button.setAttribute("aria-pressed", String(liked.has(id)));
  button.setAttribute("aria-label", `Like ${id}, ${whole.format(likes)} likes`);
}

async function addView(id) {
  const done = await ask("POST", `/v1/views/${encodeURIComponent(id)}`);
  if (done) say(`Your view of ${id} is ${done.status}.`, true);
}

/* ---- the three lists ---- */

const showNow = list("now", ({ id }) => {
  const rate = element("small", "");
  const name = element("span", "name", id, rate);
  const total = element("span", "number");
  const view = element("button", "view", "+1");
  const like = element("button", "like");
  for (const button of [view, like]) button.type = "button";
  view.setAttribute("aria-label", `Add a view of ${id}`);
  view.addEventListener("click", () => addView(id));
  like.addEventListener("click", () => toggleLike(like, id));
  return element("li", "", name, total, element("span", "acts", view, like));
}, (row, entry, entries) => {
  write(row.querySelector("small"), `${whole.format(entry.rate)} a second`);
  run(row.querySelector(".number"), entry.views, whole.format);
  showLikes(row.querySelector(".like"), entry.id, entry.likes);
  row.style.setProperty("--part", part(entry.rate, Math.max(...entries.map(({ rate }) => rate))));
});

const ranked = (className) => ({ id }) =>
  element("li", "", element("span", "rank"), element("span", "name", id), element("span", className));

const showTrending = list("trending", ranked("number gain"), (row, entry, entries) => {
  write(row.querySelector(".rank"), String(entries.indexOf(entry) + 1));
  write(row.querySelector(".number"), `+${whole.format(entry.gained)}`);
  row.style.setProperty("--part", part(entry.gained, entries[0].gained));
});

const showBoard = list("board", ranked("number"), (row, entry, entries) => {
  write(row.querySelector(".rank"), String(entry.rank));
  run(row.querySelector(".number"), entry.views, whole.format);
  row.style.setProperty("--part", part(entry.views, entries[0].views));
});

/* ---- the whole page ---- */

function showSpark(history) {
  const highest = Math.max(1, ...history);
  const points = history.map((rate, place) => `${((place / (history.length - 1)) * 600).toFixed(1)},${(118 - (rate / highest) * 112).toFixed(1)}`);
  one("spark-line").setAttribute("d", `M${points.join("L")}`);
  one("spark-area").setAttribute("d", `M0,120L${points.join("L")}L600,120Z`);
  write(one("peak"), whole.format(Math.round(Math.max(0, ...history))));
}

function show(frame) {
  run(one("total"), frame.views, whole.format);
  write(one("rate"), whole.format(Math.round(frame.rate)));
  showSpark(frame.history);
  showNow(frame.items);
  showTrending(frame.trending);
  showBoard(frame.board);
  summarize(frame);
}

let lastSaid = -Infinity;

/** At once where somebody has done something; else no more often than QUIET. */
function say(text, atOnce = false) {
  const now = performance.now();
  if (!atOnce && now - lastSaid < QUIET) return;
  lastSaid = now;
  // The same sentence again is said again.
  if (atOnce) one("said").textContent = "";
  write(one("said"), text);
}

function summarize({ views, rate, board }) {
  const leader = board.length > 0 ? ` ${board[0].id} leads today with ${whole.format(board[0].views)}.` : "";
  say(`${whole.format(views)} views, ${whole.format(Math.round(rate))} a second.${leader}`);
}

function setState(state, text) {
  one("status").dataset.state = state;
  write(one("status-text"), text);
}

one("pause").addEventListener("click", () => {
  paused = !paused;
  one("pause").setAttribute("aria-pressed", String(paused));
  if (paused) setState("paused", "Paused");
  else if (isLost) setState("lost", "Connecting again");
  else setState("live", "Live");
  say(paused ? "Paused." : isLost ? "The connection is lost." : "Live again.", true);
  if (latest) show(latest);
});

function connect() {
  const events = new EventSource("/v1/events");
  events.addEventListener("frame", ({ data }) => {
    latest = JSON.parse(data);
    heard = performance.now();
    isLost = false;
    if (paused) return;
    setState("live", "Live");
    show(latest);
  });
  events.addEventListener("error", () => {
    lose("The connection is lost. It comes back by itself.", "Connecting again");
    // After an answer that is no stream a browser does not come again by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN);
  });
}

function lose(text, state) {
  if (!isLost) say(text, true);
  isLost = true;
  setState("lost", state);
}

// Frames stop while the database is away, and the stream stays.
setInterval(() => {
  if (!isLost && !paused && performance.now() - heard > STALE) lose("These numbers stand still.", "Standing still");
}, 1000);
connect();
