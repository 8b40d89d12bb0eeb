// weir: page views, track, identify, reset. Everything about it: docs/browsers.md.
(() => {
  const { dataset, src } = document.currentScript;
  const { key, dnt, views, cookie } = dataset;
  const url = `${new URL(src).origin}/events?key=${key}`;
  const off = dnt !== "ignore" && (navigator.doNotTrack === "1" || navigator.globalPrivacyControl);
  const events = new Map(); // by id, as JSON, until weir has answered for them
  const memory = {};
  const store = (name, value) => {
    memory[name] = value;
    try {
      value === undefined ? localStorage.removeItem(name) : localStorage.setItem(name, value);
    } catch {}
  };
  const load = (name) => {
    try {
      return localStorage.getItem(name) ?? memory[name];
    } catch {
      return memory[name];
    }
  };

  const uuid = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    for (let i = 5, time = Date.now(); i >= 0; i--, time = Math.floor(time / 256)) bytes[i] = time;
    bytes[6] = (bytes[6] & 15) | 112;
    bytes[8] = (bytes[8] & 63) | 128;
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
      .join("")
      .replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };

  // Who is there: an id of this browser, or of all sites below the cookie's domain.
  const anonymousId = (renew) => {
    let id = !renew && (cookie ? /(?:^|; )weir=([^;]+)/.exec(document.cookie)?.[1] : load("weir.anonymous_id"));
    if (!id) {
      id = uuid();
      if (cookie) document.cookie = `weir=${id};domain=${cookie};path=/;max-age=31536000;samesite=lax`;
      else store("weir.anonymous_id", id);
    }
    return id;
  };

  let timer, sending, pause;
  // What is sent while a page is left may be 64 KiB: letters may take three bytes.
  const batch = () => {
    const sent = [];
    let room = 2e4;
    for (const [id, text] of events) {
      room -= text.length;
      if (sent.length && (room < 0 || sent.length === 50)) break;
      sent.push(id);
    }
    return sent;
  };
  const body = (ids) => `{"events":[${ids.map((id) => events.get(id))}]}`;
  const later = (wait) => (timer ??= setTimeout(send, wait));
  const send = async () => {
    timer = undefined;
    if (sending || !events.size) return;
    sending = true;
    const sent = batch();
    const answer = await fetch(url, { method: "POST", body: body(sent), keepalive: true }).catch(() => 0);
    sending = false;
    const { status } = answer;
    if (status < 500 && status !== 408 && status !== 429) {
      if (status >= 400) console.warn("weir:", await answer.text().catch(() => status));
      for (const id of sent) {
        events.delete(id);
        store(`weir:${id}`);
      }
      pause = 0;
      if (events.size) send();
    } else {
      pause = Math.min(2 * (pause || 500), 6e4);
      later(pause * (1 + Math.random()));
    }
  };

  const track = (event_type, properties = {}, more) => {
    if (events.size >= 1000) return;
    const event_id = uuid();
    const user_id = load("weir.user_id");
    const occurred_at = new Date().toISOString();
    const event = { event_id, user_id, anonymous_id: anonymousId(), event_type, occurred_at, properties, ...more };
    events.set(event_id, JSON.stringify(event));
    store(`weir:${event_id}`, events.get(event_id));
    later(1000);
  };

  let seen;
  const page = (properties) => {
    const { pathname, hostname, search } = location;
    const utm = [...new URLSearchParams(search)].filter(([name]) => name.startsWith("utm_"));
    const { title, referrer } = document;
    track("page_view", {
      path: pathname,
      host: hostname,
      title,
      referrer: seen ?? referrer,
      ...Object.fromEntries(utm),
      ...properties,
    });
    seen = location.origin + pathname;
  };

  const weir = {
    track,
    page,
    identify(user_id, traits) {
      const known = load("weir.user_id");
      if (known && known !== `${user_id}`) anonymousId(true); // somebody else, on the same browser
      store("weir.user_id", `${user_id}`);
      track("identify", {}, { traits });
    },
    reset() {
      store("weir.user_id");
      anonymousId(true);
    },
    push: ([name, ...values]) => weir[name](...values),
  };
  const calls = window.weir ?? [];
  window.weir = weir;
  if (off) {
    for (const name in weir) weir[name] = () => {};
    return;
  }

  try {
    for (const [name, text] of Object.entries(localStorage)) {
      if (name.startsWith("weir:")) events.set(name.slice(5), text);
    }
  } catch {}
  if (events.size) later(0);
  addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && events.size) navigator.sendBeacon(url, body(batch()));
  });
  if (views !== "off") {
    const { pushState } = history;
    const moved = () => location.origin + location.pathname !== seen && page();
    history.pushState = function (...state) {
      pushState.apply(this, state);
      moved();
    };
    addEventListener("popstate", moved);
    page();
  }
  for (const call of calls) weir.push(call);
})();
