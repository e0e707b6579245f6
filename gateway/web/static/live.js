// Makes the page live: listens for changes, fetches the page's regions anew and swaps what differs. The page is whole
// without this file. Nothing moves the focus or the scroll position; what is being used is left alone until it is not.

const since = document.body.dataset.since;
const stale = document.getElementById("stale");
const announcer = document.getElementById("announce");
const find = document.getElementById("find");

const DEBOUNCE_MS = 150;
const AGAIN_MS = 4000;
const STALE_MS = 6000;

let source = null;
let latest = since;
let isWaiting = false; // something was left alone because it was in use
let refreshing = null;
let staleTimer = 0;

// Swapping -----------------------------------------------------------------------------------------------------------

/** Makes `mine` what `fresh` is; `forced` is the id of a row to change even while it is in use. The ids of rows changed. */
function swap(mine, fresh, forced, changed) {
  if (mine.isEqualNode(fresh)) return;
  if (mine.dataset.swap === "keyed") return swapKeyed(mine, fresh, forced, changed);
  if (mine.dataset.swap === "each" && mine.children.length === fresh.children.length) {
    copyAttributes(mine, fresh);
    [...mine.children].forEach((child, at) => swap(child, fresh.children[at], forced, changed));
    return;
  }
  keepOpen(mine, fresh);
  if (mine.isEqualNode(fresh)) return;
  const row = mine.closest("[data-swap=keyed] > *");
  if (isInUse(mine) && !(forced && row?.id === forced) && forced !== "all") {
    isWaiting = true;
    return;
  }
  if (row) changed.add(row.id);
  copyAttributes(mine, fresh);
  mine.replaceChildren(...fresh.childNodes);
}

function swapKeyed(mine, fresh, forced, changed) {
  const wanted = [...fresh.children];
  const ids = new Set(wanted.map((row) => row.id));
  for (const row of [...mine.children]) {
    if (ids.has(row.id)) continue;
    if (isInUse(row) && forced !== row.id) isWaiting = true;
    else row.remove();
  }
  let at = mine.firstElementChild;
  for (const row of wanted) {
    const known = [...mine.children].find((child) => child.id === row.id);
    if (!known) {
      changed.add(row.id);
      row.classList.add("new");
      mine.insertBefore(row, at);
      continue;
    }
    swap(known, row, forced, changed);
    if (known === at) at = at.nextElementSibling;
    else if (isInUse(known)) at = known.nextElementSibling; // the others move around the one in use
    else mine.insertBefore(known, at);
  }
}

function copyAttributes(mine, fresh) {
  for (const name of ["class", "aria-current"]) {
    if (fresh.hasAttribute(name)) mine.setAttribute(name, fresh.getAttribute(name));
    else mine.removeAttribute(name);
  }
}

/** Disclosures stay as open as the reader left them. */
function keepOpen(mine, fresh) {
  const opened = [...mine.querySelectorAll("details")];
  [...fresh.querySelectorAll("details")].forEach((details, at) => {
    if (opened[at]) details.open = opened[at].open;
  });
}

function isInUse(node) {
  const active = document.activeElement;
  return active !== null && active !== document.body && node.contains(active);
}

/** Draws the regions of another rendering of this page. */
function draw(rendering, forced) {
  const anchor = firstVisibleRow();
  const changed = new Set();
  isWaiting = false;
  for (const fresh of rendering.querySelectorAll("[data-region]")) {
    const mine = document.getElementById(fresh.id);
    if (mine) swap(mine, document.importNode(fresh, true), forced, changed);
  }
  latest = rendering.body.dataset.since ?? latest;
  filter();
  if (anchor?.row.isConnected) window.scrollBy(0, anchor.row.getBoundingClientRect().top - anchor.top);
  return changed;
}

function firstVisibleRow() {
  if (window.scrollY === 0) return null;
  for (const row of document.querySelectorAll("[data-swap=keyed] > *")) {
    const top = row.getBoundingClientRect().top;
    if (top >= 0) return { row, top };
  }
  return null;
}

function announce(changed) {
  const count = [...changed].filter((id) => /-\d+$/.test(id)).length;
  if (count) announcer.textContent = count === 1 ? "1 line changed" : `${count} lines changed`;
}

// Refreshing ---------------------------------------------------------------------------------------------------------

async function read(address, options) {
  const response = await fetch(address, { credentials: "same-origin", cache: "no-store", ...options });
  if (response.redirected && ["/login", "/setup"].includes(new URL(response.url).pathname)) {
    location.reload(); // the session is over: the server leads to the login and back here
    return null;
  }
  return { ok: response.ok, page: new DOMParser().parseFromString(await response.text(), "text/html") };
}

async function refresh() {
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("fragment", "1");
  try {
    const answer = await read(address);
    if (answer?.ok) announce(draw(answer.page));
  } catch {
    lost();
  }
}

function refreshSoon() {
  clearTimeout(refreshing);
  refreshing = setTimeout(refresh, DEBOUNCE_MS);
}

document.addEventListener("focusout", () => {
  if (isWaiting) refreshSoon();
});

// Acting -------------------------------------------------------------------------------------------------------------

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-live]")) return;
  event.preventDefault();
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  form.setAttribute("aria-busy", "true");
  const row = form.closest("[data-swap=keyed] > *");
  const body = new URLSearchParams(new FormData(form, event.submitter));
  try {
    const answer = await read(form.action, { method: "POST", body });
    if (answer) settle(answer.page, answer.ok, row?.id ?? "all");
  } catch {
    say("That did not reach the gateway. Check the connection and try again.");
  } finally {
    delete form.dataset.busy;
    form.removeAttribute("aria-busy");
  }
});

/** What the answer to a form says, the row it was about, and the focus where it was. */
function settle(page, ok, forced) {
  const hadFocus = isInUse(document.getElementById(forced) ?? document.getElementById("main"));
  const notice = document.getElementById("notice");
  const fresh = page.getElementById(ok ? "notice" : "trouble");
  notice.replaceChildren(...(fresh ? (ok ? fresh.childNodes : [fresh]) : []));
  if (ok) draw(page, forced);
  else refresh();
  if (!hadFocus || isInUse(document.documentElement)) return;
  const row = document.getElementById(forced) ?? document.getElementById("head");
  const next = row?.querySelector("form button, form select") ?? row?.querySelector("a");
  next?.focus({ preventScroll: true });
}

function say(text) {
  const line = document.createElement("p");
  line.className = "box warn";
  line.textContent = text;
  document.getElementById("notice").replaceChildren(line);
}

// Listening ----------------------------------------------------------------------------------------------------------

function listen() {
  if (source || since === undefined || document.hidden) return;
  source = new EventSource(`/events?after=${encodeURIComponent(latest)}`);
  source.addEventListener("open", connected);
  source.addEventListener("change", (event) => {
    latest = event.lastEventId || latest;
    refreshSoon();
  });
  source.addEventListener("ended", () => location.reload());
  source.addEventListener("error", () => {
    lost();
    if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    hush();
    setTimeout(() => refresh().then(listen), AGAIN_MS);
  });
}

/** No stream is held for a page nobody sees: browsers allow a site only a handful. */
function hush() {
  source?.close();
  source = null;
}

function connected() {
  clearTimeout(staleTimer);
  staleTimer = 0;
  stale.hidden = true;
  show("live", "Live");
}

function lost() {
  show("lost", "Connecting…");
  staleTimer ||= setTimeout(() => { stale.hidden = false; }, STALE_MS);
}

function show(state, text) {
  const badge = document.getElementById("live");
  if (!badge) return;
  badge.hidden = false;
  badge.dataset.state = state;
  document.getElementById("live-text").textContent = text;
}

document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
window.addEventListener("pageshow", (event) => {
  if (event.persisted) refresh();
});

// Finding ------------------------------------------------------------------------------------------------------------

/** Hides the rows that do not hold every word typed. It happens here, so what is typed never leaves the page. */
function filter() {
  if (!find) return;
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll("tr[id^=order-]")];
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("found").textContent = words.length ? `${shown} of ${rows.length}` : "";
}

if (find) {
  find.closest("[hidden]").hidden = false;
  find.addEventListener("input", filter);
  find.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return; // a barcode reader ends with Enter
    const rows = [...document.querySelectorAll("tr[id^=order-]:not([hidden])")];
    if (rows.length === 1) rows[0].querySelector(".c-action button, .c-patient a")?.focus();
  });
}

listen();
