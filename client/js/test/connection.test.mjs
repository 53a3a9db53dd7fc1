// Handshakes, close codes, delays, tokens, subscriptions and dead connections.
import {afterEach, beforeEach, mock, test} from "node:test";
import assert from "node:assert/strict";
import {Client} from "../dist/index.js";
import {Socket, expect, fakeTime, hello, log, pass, realTime, stored, turn} from "./fake.mjs";

beforeEach(fakeTime);
afterEach(realTime);

async function open(options = {}, topics = []) {
  const client = new Client({url: "ws://push.test/ws?a=1", WebSocket: Socket, diagnose: false, ...options});
  const lines = log(client), states = [];
  client.on("state", s => { states.push(s); });
  client.inbox(() => {});
  for (const t of topics) client.subscribe(t, m => { lines.push(t + " " + m.text); });
  const connected = client.connect();
  await turn();
  return {client, lines, states, connected};
}

// The table of docs/protocol.md and docs/clients.md: whether the client reconnects, not before, and until when at the
// latest. Random numbers are the greatest possible.
for (const [code, floor, most, options] of [
  [1001, 0, 5_000], [1012, 0, 5_000], [1013, 1_000, 11_000], [1011, 1_000, 2_000],
  [1005, 0, 1_000], [1006, 0, 1_000], [1014, 0, 1_000], [4000, 0, 1_000], [4999, 0, 1_000],
  [3000, 0, 1_000, {token: () => "t"}],
  [1000], [1002], [1003], [1007], [1008], [1009], [3003], [3000],
  [1008, 0, 1_000, {reconnect: code => code === 1008}], [4001, undefined, undefined, {reconnect: () => false}],
]) {
  test(`close code ${code}${options ? " with " + Object.keys(options) : ""}: ${most === undefined ? "final" : floor + " to " + most + " ms"}`, async () => {
    const {client, lines, states} = await open(options);
    Socket.last.accept(hello(1, "E1"));
    Socket.last.end(code, "because");
    await turn();
    expect(lines, "error close " + code + (most === undefined ? " final" : ""));
    assert.equal(client.state, most === undefined ? "closed" : "waiting");
    if (most === undefined) {
      await pass(120_000);
      assert.equal(Socket.all.length, 1);
      return;
    }
    assert.equal(states.at(-1).delay, most);
    if (floor) {
      await pass(floor);
      assert.equal(Socket.all.length, 1);
    }
    await pass(most - floor - 2);
    assert.equal(Socket.all.length, 1);
    await pass(2);
    assert.equal(Socket.all.length, 2);
    // Where random numbers are the least, nothing but the floor is waited for.
    mock.method(Math, "random", () => 0);
    Socket.last.accept(hello(1, "E1"));
    Socket.last.end(code);
    await turn();
    if (floor) await pass(floor - 1);
    assert.equal(Socket.all.length, 2);
    await pass(1);
    await pass(1);
    assert.equal(Socket.all.length, 3);
    client.close();
  });
}

test("delays grow to a bound, and begin again after a stable session", async () => {
  const {client, states} = await open({minDelay: 100, maxDelay: 1_000, stableAfter: 5_000});
  const delays = [];
  for (let i = 0; i < 6; i++) {
    Socket.last.end();
    await turn();
    delays.push(states.at(-1).delay);
    await pass(1_000);
  }
  Socket.last.accept(hello(1, "E1"));
  await pass(4_999);
  Socket.last.end();
  await turn();
  delays.push(states.at(-1).delay);
  await pass(1_000);
  Socket.last.accept(hello(1, "E1"));
  await pass(5_000);
  Socket.last.end();
  await turn();
  delays.push(states.at(-1).delay);
  assert.deepEqual(delays, [100, 200, 400, 800, 1_000, 1_000, 1_000, 100]);
  client.close();
});

test("a token for each attempt", async () => {
  const tokens = ["one", new Error("no network"), "two"];
  const {client, lines} = await open({token: async () => {
    const t = tokens.shift();
    if (t instanceof Error) throw t;
    return t;
  }});
  assert.deepEqual(Socket.last.query, ["a=1", "token=one"]);
  Socket.last.accept(hello(1, "E1")).end(3000, "expired");
  await pass(1_000);
  expect(lines, "error close 3000", "error token no network");
  await pass(2_000);
  assert.deepEqual(Socket.last.query, ["a=1", "epoch=E1", "offset=1", "token=two"]);
  client.close();
});

test("a token that is renewed while connected", async () => {
  const tokens = ["one", "two", new Error("no network"), "three"];
  const {client, lines} = await open({token: async () => {
    const t = tokens.shift();
    if (t instanceof Error) throw t;
    return t;
  }});
  const s = Socket.last.accept(hello(1, "E1", {expires_in: 100}));
  await pass(89_000);
  assert.deepEqual(s.sent.filter(o => o.type === "refresh"), []);
  await pass(1_000);
  assert.deepEqual(s.sent.filter(o => o.type === "refresh"), [{type: "refresh", token: "two"}]);
  s.say({type: "refresh", expires: 1, expires_in: 1_000});
  await pass(800_000);
  expect(lines);
  await pass(100_000);
  expect(lines, "error token no network");
  s.say(hello(1, "E1")); // which says that the session does not expire
  await pass(10_000_000);
  assert.equal(tokens.length, 1);
  s.say({type: "refresh", expires_in: 10});
  s.end();
  await turn();
  await pass(8_999); // a session that has ended renews nothing, and the next one has a token of its own
  assert.equal(Socket.all.length, 2);
  assert.deepEqual(Socket.last.query, ["a=1", "epoch=E1", "offset=1", "token=three"]);
  client.close();
});

test("no renewal without a token function", async () => {
  const {client} = await open();
  const s = Socket.last.accept(hello(1, "E1", {expires_in: 10}));
  await pass(10_000);
  assert.deepEqual(s.sent, []);
  client.close();
});

test("topics change while connected", async () => {
  const {client, lines, connected} = await open({}, ["a"]);
  const s = Socket.last.accept(hello(1, "E1"));
  await connected;
  const leaveB = client.subscribe("b", m => { lines.push("b " + m.text); });
  client.subscribe("c", m => { lines.push("c " + m.text); });
  client.subscribe("d", m => { lines.push("d " + m.text); });
  await turn();
  assert.deepEqual(s.sent, [{type: "subscribe", topic: "b"}]); // an error names no topic: one is on its way at a time
  s.say({type: "subscribe", topic: "b", offset: 4, epoch: "E1"}, {type: "error", code: "bad_offset", message: "?"}, {type: "error", code: "forbidden", message: "no"});
  await turn();
  expect(lines, "error rejected bad_offset", "error rejected forbidden c");
  assert.deepEqual(s.sent.map(o => o.topic), ["b", "c", "d"]);
  s.say({type: "subscribe", topic: "d"}, stored(5, "E1", "five", {topic: "b"}));
  await turn();
  expect(lines, "b five");
  leaveB();
  leaveB();
  s.say(stored(6, "E1", "six", {topic: "b"}));
  await turn();
  expect(lines);
  assert.deepEqual(s.sent.at(-1), {type: "unsubscribe", topic: "b"});
  // What was missed meanwhile is sent after the position.
  client.subscribe("b", m => { lines.push("b " + m.text); });
  await turn();
  assert.deepEqual(s.sent.at(-1), {type: "subscribe", topic: "b", offset: 5, epoch: "E1"});
  // A topic that was rejected does not make the next handshake fail.
  s.end();
  await pass(1_000);
  assert.deepEqual(Socket.last.query, ["a=1", "epoch.b=E1", "epoch=E1", "offset.b=5", "offset=1", "topic=a", "topic=b", "topic=d"]);
  Socket.last.accept(hello(1, "E1"));
  assert.deepEqual(Socket.last.sent, [{type: "subscribe", topic: "c"}]);
  client.close();
});

test("after a handshake with topics has failed, the next one names none", async () => {
  const {client, lines} = await open({}, ["a", "b"]);
  Socket.last.end();
  await pass(1_000);
  expect(lines, "error handshake");
  assert.deepEqual(Socket.last.query, ["a=1"]);
  Socket.last.accept(hello(1, "E1"));
  Socket.last.say({type: "error", code: "forbidden"}, {type: "subscribe", topic: "b"});
  expect(lines, "error rejected forbidden a");
  Socket.last.end();
  await pass(2_000);
  assert.deepEqual(Socket.last.query, ["a=1", "epoch=E1", "offset=1", "topic=b"]);
  client.close();
});

test("many topics do not make the request too long", async () => {
  const topics = Array.from({length: 60}, (_, i) => "ü".repeat(20) + i);
  const {client} = await open({}, topics);
  const s = Socket.last;
  assert.ok(s.url.length <= 4_000);
  const named = new URL(s.url).searchParams.getAll("topic");
  s.accept(hello(1, "E1"));
  for (let n = named.length; n < topics.length; n++) {
    named.push(s.sent.at(-1).topic);
    s.say({type: "subscribe", topic: s.sent.at(-1).topic});
  }
  assert.deepEqual(named, topics);
  client.close();
});

for (const [status, text, retryAfter, want] of [
  [400, "no user", "", "closed"], [401, "expired", "", "closed"], [403, "origin", "", "closed"], [426, "", "", "closed"],
  [404, "", "", "waiting"], [503, "full", "7", "waiting"], [429, "", "1e9", "waiting"], [200, "the handshake would be accepted", "", "waiting"],
]) {
  test(`a handshake that is rejected with ${status}`, async () => {
    const asked = [];
    mock.method(globalThis, "fetch", async (url, {headers}) => {
      asked.push([url, headers]);
      return new Response(text, {status, headers: retryAfter ? {"Retry-After": retryAfter} : {}});
    });
    const {client, lines, states, connected} = await open({diagnose: true});
    connected.catch(e => lines.push("rejected " + e?.status));
    Socket.last.end();
    await turn();
    await turn();
    assert.deepEqual(asked, [["http://push.test/ws?a=1", {"Fanfare-Check": "fanfare.v1"}]]);
    expect(lines, "error handshake " + status + (want === "closed" ? " final" : ""), ...want === "closed" ? ["rejected " + status] : []);
    assert.equal(client.state, want);
    if (want === "waiting") assert.equal(states.at(-1).delay, {7: 8_000, "1e9": 301_000}[retryAfter] ?? 1_000);
    client.close();
  });
}

test("a status of 403 may be about a topic", async () => {
  mock.method(globalThis, "fetch", async () => new Response("topic", {status: 403}));
  const {client, lines} = await open({diagnose: true}, ["a"]);
  Socket.last.end();
  await turn();
  await pass(1_000);
  expect(lines, "error handshake 403");
  assert.deepEqual(Socket.last.query, ["a=1"]);
  Socket.last.end();
  await turn();
  expect(lines, "error handshake 403 final");
  assert.equal(client.state, "closed");
});

test("a server that does not answer, and one that speaks something else", async () => {
  const {client, lines} = await open();
  await pass(15_000);
  expect(lines, "error handshake the handshake timed out");
  await pass(1_000);
  assert.equal(Socket.all.length, 2);
  Socket.last.onerror({}); // and no close
  await pass(1_000);
  await pass(2_000);
  assert.equal(Socket.all.length, 3);
  expect(lines, "error handshake");
  Socket.last.onopen({});
  expect(lines, "error protocol the server does not speak fanfare.v1 final");
  assert.equal(client.state, "closed");
  const other = await open();
  Socket.last.accept("hi");
  expect(other.lines, "error protocol not an object: hi final");
  const none = await open({WebSocket: class { constructor() { throw new SyntaxError("bad URL"); } }});
  expect(none.lines, "error protocol SyntaxError: bad URL final");
});

test("a dead connection", async () => {
  const {client, lines} = await open({}, ["?"]);
  const s = Socket.last.accept(hello(1, "E1"));
  await pass(60_000);
  await pass(59_999);
  assert.deepEqual(s.sent, []); // hello was a sign of life
  s.say({type: "message", text: "x"});
  await pass(60_001);
  assert.deepEqual(s.sent, [{type: "unsubscribe", topic: "??"}]);
  s.say({type: "unsubscribe", topic: "??"});
  await pass(30_000);
  assert.equal(client.state, "open");
  await pass(90_000);
  await pass(10_000);
  expect(lines, "error close 1006");
  assert.equal(s.sent.length, 2);
  await pass(1_000);
  assert.equal(Socket.all.length, 2);
  client.close();
});

test("the page becomes visible, or online", async () => {
  const listeners = {};
  globalThis.document = {
    visibilityState: "visible",
    addEventListener: (type, f) => { listeners[type] = f; },
    removeEventListener: type => { delete listeners[type]; },
  };
  const {client, lines} = await open({minDelay: 20_000});
  Socket.last.accept(hello(1, "E1"));
  listeners.visibilitychange({type: "visibilitychange"});
  assert.deepEqual(Socket.last.sent, [{type: "unsubscribe", topic: "?"}]);
  await pass(10_000);
  expect(lines, "error close 1006");
  await pass(5_000);
  document.visibilityState = "hidden";
  listeners.visibilitychange({type: "visibilitychange"});
  await pass(1_000);
  assert.equal(Socket.all.length, 1);
  document.visibilityState = "visible";
  listeners.visibilitychange({type: "visibilitychange"});
  await pass(0);
  assert.equal(Socket.all.length, 2);
  // The time that the server wants passes all the same.
  Socket.last.accept(hello(1, "E1")).end(1013);
  await turn();
  listeners.visibilitychange({type: "visibilitychange"});
  await pass(999);
  assert.equal(Socket.all.length, 2);
  await pass(1);
  await pass(0);
  assert.equal(Socket.all.length, 3);
  client.close();
  assert.deepEqual(listeners, {});
});

for (const [code, reason, most] of [
  [1001, "server is going away; retry=60", 60_000], [1012, "a; b=c;retry=2 ", 2_000], [1001, "a; retry=4000000", 300_000],
  [1001, "a; retry=0", 1_000], [1001, "retry=60", 5_000], [1001, "a; retry=1s", 5_000], [1001, "a; retry=-1", 5_000], [1001, "a; retries=9", 5_000],
  [1011, "a; retry=60", 2_000],
]) {
  test(`the reason ${JSON.stringify(reason)} with ${code}: within ${most} ms`, async () => {
    const {client, states} = await open();
    Socket.last.accept(hello(1, "E1")).end(code, reason);
    await turn();
    assert.equal(states.at(-1).delay, most);
    client.close();
  });
}

// What the handshakes after a session with a ticket present. statuses: how those fail, undefined if the page does not know.
for (const [name, code, statuses, ...want] of [
  ["the server leaves", 1001, [], "ticket=T1"],
  ["it restarts", 1012, [], "ticket=T1"],
  ["the connection is lost", 1006, [], "ticket=T1"],
  ["the server is full", 1001, [503, 429, 408], "ticket=T1", "ticket=T1", "ticket=T1", "ticket=T1"],
  ["the ticket has ended", 1001, [401, 401], "ticket=T1", "token=t2", "token=t3"],
  ["the node has no tickets", 1001, [400], "ticket=T1", "token=t2"],
  ["it is not allowed any more", 1001, [403, 503], "ticket=T1", "token=t2", "token=t3"],
  ["nobody knows why", 1001, [undefined, undefined], "ticket=T1", "token=t2", "ticket=T1"],
  ["the token has ended", 3000, [], "token=t2"],
  ["closed by the application", 4000, [], "token=t2"],
]) {
  test("tickets: " + name, async () => {
    mock.method(globalThis, "fetch", async () => {
      const status = statuses.shift();
      if (!status) throw new TypeError("no network");
      return new Response("", {status});
    });
    let tokens = 0;
    const {client} = await open({diagnose: true, token: () => "t" + ++tokens});
    const secrets = () => Socket.last.query.filter(q => /^(ticket|token)=/.test(q));
    assert.deepEqual(secrets(), ["token=t1"]);
    Socket.last.accept(hello(1, "E1", {ticket: "T0"})).say({type: "refresh", ticket: "T1"}, hello(1, "E1"));
    Socket.last.end(code);
    const seen = [];
    for (let i = 0; i < want.length; i++) {
      await pass(30_000);
      seen.push(...secrets());
      if (i + 1 < want.length) Socket.last.end();
      await turn();
      await turn();
    }
    assert.deepEqual(seen, want);
    // A program that closes and connects again may be another user's.
    client.close();
    client.connect();
    await turn();
    assert.deepEqual(secrets(), ["token=t" + tokens]);
    client.close();
  });
}
