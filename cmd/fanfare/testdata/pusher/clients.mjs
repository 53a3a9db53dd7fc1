// Runs pusher-js, Laravel Echo and the library for backends against a server:
//
//	node clients.mjs HOST:PORT WEBHOOK_PORT [TEST [HOST:PORT]]
//
// The last argument is another node, which is to be killed when the script prints "kill".
import assert from "node:assert";
import { createServer } from "node:http";
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const Pusher = require("pusher-js");
const Backend = require("pusher");
const [wsHost, wsPort] = process.argv[2].split(":");
const app = { appId: "app1", key: "key1", secret: "0123456789abcdef0123" };
const backend = new Backend({ ...app, host: wsHost, port: wsPort, useTLS: false });
// The webhook, whose requests the backend library verifies.
const hooks = new Set(); let unsigned = 0;
createServer((req, res) => {
  let rawBody = "";
  req.on("data", d => rawBody += d).on("end", () => {
    const hook = backend.webhook({ headers: req.headers, rawBody });
    if (!hook.isValid()) unsigned++;
    else for (const e of hook.getEvents()) hooks.add(e.name);
    res.end();
  });
}).listen(+process.argv[3], "127.0.0.1");
const open = [], run = Date.now();
function client(user, options = {}) {
  const p = new Pusher(app.key, {
    cluster: "", wsHost, wsPort, forceTLS: false, enabledTransports: ["ws"], disableStats: true,
    channelAuthorization: { customHandler: ({ channelName, socketId }, done) =>
      done(null, backend.authorizeChannel(socketId, channelName, user && { user_id: user, user_info: { name: user.toUpperCase() } })) },
    userAuthentication: { customHandler: ({ socketId }, done) =>
      done(null, backend.authenticateUser(socketId, { id: user, watchlist: options.watchlist })) },
    ...options,
  });
  p.connection.bind("error", e => { if (!p.expectError) console.log("error", JSON.stringify(e)); });
  open.push(p);
  return p;
}
async function until(ok) {
  for (let i = 0; !ok(); i++) {
    assert(i < 3000, "timeout: " + ok);
    await new Promise(r => setTimeout(r, 10));
  }
}
const once = (target, name, what = name) => new Promise((resolve, reject) => {
  const t = setTimeout(() => reject(new Error("no " + what)), 30000);
  target.bind(name, (data, meta) => { clearTimeout(t); resolve(data); });
});
const connected = p => p.connection.state === "connected" ? Promise.resolve() : once(p.connection, "connected");
const subscribed = c => once(c, "pusher:subscription_succeeded", "subscription to " + c.name);

const tests = {
  async "public channel"() {
    const c = client().subscribe("news");
    await subscribed(c);
    const got = once(c, "hello");
    await backend.trigger("news", "hello", { a: 1 });
    assert.deepEqual(await got, { a: 1 });
  },
  async "socket_id is left out"() {
    const a = client(), b = client();
    const ca = a.subscribe("chat"), cb = b.subscribe("chat");
    await Promise.all([subscribed(ca), subscribed(cb)]);
    let wrong = false;
    ca.bind("x", () => wrong = true);
    const got = once(cb, "x"), last = once(ca, "last");
    await backend.trigger("chat", "x", "y", { socket_id: a.connection.socket_id });
    await backend.trigger("chat", "last", "z");
    assert.equal(await got, "y"); await last;
    assert(!wrong);
  },
  async "private channel and client events"() {
    const a = client(), b = client();
    const ca = a.subscribe("private-x"), cb = b.subscribe("private-x");
    await Promise.all([subscribed(ca), subscribed(cb)]);
    const got = once(cb, "client-typing");
    assert(ca.trigger("client-typing", { on: true }));
    assert.deepEqual(await got, { on: true });
  },
  async "a wrong signature"() {
    const p = client("", { channelAuthorization: { customHandler: (_, done) => done(null, { auth: "key1:00" }) } });
    const e = await once(p.subscribe("private-x"), "pusher:subscription_error");
    assert.equal(e.status, 401);
  },
  async "presence"() {
    const a = client("alice"), ca = a.subscribe("presence-room");
    const m = await subscribed(ca);
    assert.equal(m.count, 1); assert.equal(m.me.id, "alice"); assert.deepEqual(m.me.info, { name: "ALICE" });
    const added = once(ca, "pusher:member_added");
    const b = client("bob"), cb = b.subscribe("presence-room");
    const mb = await subscribed(cb);
    assert.equal(mb.count, 2);
    assert.deepEqual(await added, { id: "bob", info: { name: "BOB" } });
    const r = await (await backend.get({ path: "/channels/presence-room", params: { info: "user_count" } })).json();
    assert.deepEqual(r, { occupied: true, user_count: 2 });
    const u = await (await backend.get({ path: "/channels/presence-room/users" })).json();
    assert.deepEqual(u, { users: [{ id: "alice" }, { id: "bob" }] });
    // A second connection of bob is not announced, and only the last one that leaves.
    let events = [];
    ca.bind_global((name, d) => { if (name.includes("member")) events.push(name + " " + d.id) });
    const b2 = client("bob"), cb2 = b2.subscribe("presence-room");
    await subscribed(cb2);
    const gone = once(b2.connection, "disconnected"); b2.disconnect(); await gone;
    const removed = once(ca, "pusher:member_removed");
    b.disconnect();
    assert.equal((await removed).id, "bob");
    assert.deepEqual(events, ["pusher:member_removed bob"]);
    const ce = once(ca, "client-hi"); 
    const d = client("dora"), cd = d.subscribe("presence-room"); await subscribed(cd);
    let meta; ca.bind("client-hi", (_, m) => meta = m);
    cd.trigger("client-hi", {}); await ce;
    assert.equal(meta.user_id, "dora");
  },
  async "batch, channels and info"() {
    const p = client(), c = p.subscribe("batch");
    await subscribed(c);
    const one = once(c, "one"), two = once(c, "two");
    await backend.triggerBatch([{ channel: "batch", name: "one", data: "1" }, { channel: "batch", name: "two", data: "2" }]);
    assert.equal(await one, 1); assert.equal(await two, 2);
    const r = await (await backend.trigger("batch", "e", {}, { info: "subscription_count" })).json();
    assert.deepEqual(r, { channels: { batch: { subscription_count: 1 } } });
    const all = await (await backend.get({ path: "/channels", params: { filter_by_prefix: "bat" } })).json();
    assert.deepEqual(all, { channels: { batch: {} } });
  },
  async "cache channel"() {
    const miss = once(client().subscribe("cache-" + run), "pusher:cache_miss");
    await miss;
    await backend.trigger("cache-" + run, "price", { v: 7 });
    assert.deepEqual(await once(client().subscribe("cache-" + run), "price"), { v: 7 });
  },
  async "subscription count"() {
    const c = client().subscribe("counted");
    assert.deepEqual(await once(c, "pusher:subscription_count"), { subscription_count: 1 });
  },
  async "sign-in, user events, watchlist, termination"() {
    const a = client("alice", { watchlist: ["carol"] });
    const on = once(a.user.watchlist, "online"), off = once(a.user.watchlist, "offline");
    a.signin();
    await off; // at first
    const c = client("carol"); c.signin();
    await on;
    const mail = once(a.user, "mail");
    await until(() => a.user.serverToUserChannel?.subscribed);
    await backend.sendToUser("alice", "mail", { n: 1 });
    assert.deepEqual(await mail, { n: 1 });
    const closed = once(c.connection, "disconnected").catch(() => {}), failed = once(c.connection, "error");
    c.expectError = true;
    const offline = once(a.user.watchlist, "offline");
    await backend.terminateUserConnections("carol");
    assert.equal((await failed).data.code, 4009);
    await offline;
  },
  async "unknown key"() {
    const p = new Pusher("nokey", { cluster: "", wsHost, wsPort, forceTLS: false, enabledTransports: ["ws"] });
    open.push(p);
    const e = await once(p.connection, "error");
    assert.equal((e.data ?? e.error.data).code, 4001);
  },
  async "encrypted channel"() {
    const enc = new Backend({ ...app, host: wsHost, port: wsPort, useTLS: false, encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString("base64") });
    const p = new Pusher(app.key, { cluster: "", wsHost, wsPort, forceTLS: false, enabledTransports: ["ws"],
      channelAuthorization: { customHandler: ({ channelName, socketId }, done) => done(null, enc.authorizeChannel(socketId, channelName)) } });
    open.push(p);
    const c = p.subscribe("private-encrypted-x");
    await subscribed(c);
    const got = once(c, "secret");
    await enc.trigger("private-encrypted-x", "secret", { s: 1 });
    assert.deepEqual(await got, { s: 1 });
  },
  async "ping"() {
    const p = client(); await connected(p);
    const got = new Promise(r => p.connection.bind("message", m => { if (m.event === "pusher:pong") r(); }));
    p.connection.send_event("pusher:ping", {});
    await got;
  },
  async "laravel-echo"() {
    const { default: Echo } = await import("laravel-echo");
    globalThis.window = globalThis;
    const make = user => { const e = new Echo({ broadcaster: "pusher", client: client(user) }); return e; };
    const a = make("alice"), b = make("bob");
    const here = new Promise(r => a.join("lobby").here(r));
    assert.deepEqual(await here, [{ name: "ALICE" }]);
    const joining = new Promise(r => a.join("lobby").joining(r));
    b.join("lobby");
    assert.deepEqual(await joining, { name: "BOB" });
    const shipped = new Promise(r => a.private("orders.1").listen("OrderShipped", r));
    await subscribed(a.connector.pusher.channel("private-orders.1")).catch(() => {});
    await backend.trigger("private-orders.1", "App\\Events\\OrderShipped", { id: 1 });
    assert.deepEqual(await shipped, { id: 1 });
    const whisper = new Promise(r => a.private("orders.1").listenForWhisper("typing", r));
    const pb = b.private("orders.1"); await subscribed(b.connector.pusher.channel("private-orders.1"));
    pb.whisper("typing", { name: "bob" });
    assert.deepEqual(await whisper, { name: "bob" });
  },
  async "missed messages, after the connection broke"() {
    const name = "private-user." + run, p = client(), c = p.subscribe(name), got = [];
    c.bind("n", d => got.push(d));
    await subscribed(c);
    await backend.trigger(name, "n", 1);
    await until(() => got.length === 1);
    const down = once(p.connection, "disconnected");
    p.disconnect(); await down;
    for (const n of [2, 3]) await backend.trigger(name, "n", n);
    const again = subscribed(c);
    p.connect(); await again;
    await backend.trigger(name, "n", 4);
    await until(() => got.at(-1) === 4);
    if (got[1] === 1) got.shift(); // the pong was not there yet
    assert.deepEqual(got, [1, 2, 3, 4]);
  },
  async "webhooks"() {
    const wanted = ["channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss", "subscription_count"];
    await until(() => wanted.every(w => hooks.has(w)));
    assert.equal(unsigned, 0);
  },
};
const only = process.argv[4], there = process.argv[5]?.split(":");
if (there) tests["two nodes"] = async () => {
  const node = { wsHost: there[0], wsPort: there[1] };
  const backendThere = new Backend({ ...app, host: there[0], port: there[1], useTLS: false });
  const users = async b => {
    try { return (await (await b.get({ path: "/channels/presence-room/users" })).json()).users.map(u => u.id).join(); }
    catch { return ""; } // 503, until the nodes know each other
  };
  const wait = async (b, want) => { while (await users(b) !== want) await new Promise(r => setTimeout(r, 20)); };
  const a = client("alice"), ca = a.subscribe("presence-room");
  await subscribed(ca);
  await wait(backendThere, "alice");
  const events = []; ca.bind_global((name, d) => { if (name.includes("member_")) events.push(name + " " + d.id) });
  const b = client("bob", node), cb = b.subscribe("presence-room");
  const m = await subscribed(cb);
  assert.deepEqual(m.members, { alice: { name: "ALICE" }, bob: { name: "BOB" } });
  await until(() => events.length === 1);
  await subscribed(client("alice", node).subscribe("presence-room")); // who is one member
  const hello = once(cb, "hello"), hi = once(ca, "client-hi");
  await backend.trigger("presence-room", "hello", { n: 1 });
  assert.deepEqual(await hello, { n: 1 });
  cb.trigger("client-hi", { n: 2 });
  assert.deepEqual(await hi, { n: 2 });
  await wait(backend, "alice,bob");
  b.connection.unbind("error");
  console.log("kill");
  await until(() => events.length === 2);
  assert.deepEqual(events, ["pusher:member_added bob", "pusher:member_removed bob"]);
  await wait(backend, "alice");
  await until(() => hooks.has("member_removed"));
  assert.equal(unsigned, 0);
};
let failed = 0;
for (const [name, f] of Object.entries(tests)) {
  if (only && name !== only) continue;
  try { await f(); console.log("ok " + name); } catch (e) { failed++; console.log("FAILED " + name + ": " + (e.stack ?? e)); }
  for (const p of open.splice(0)) p.disconnect();
}
process.exit(failed ? 1 : 0);
