// Offsets, epochs, gaps, duplicates and acknowledgements.
import {afterEach, beforeEach, test} from "node:test";
import assert from "node:assert/strict";
import {Client, localStorageStore, memoryStore} from "../dist/index.js";
import {Socket, expect, fakeTime, hello, log, pass, realTime, stored, turn} from "./fake.mjs";

beforeEach(fakeTime);
afterEach(realTime);

async function open(options = {}, topics = []) {
  const client = new Client({url: "ws://push.test/ws", WebSocket: Socket, diagnose: false, ...options});
  const lines = log(client);
  client.inbox(m => { lines.push("inbox " + (m.text ?? [...m.bytes])); });
  for (const t of topics) client.subscribe(t, m => { lines.push(t + " " + m.text); });
  client.connect();
  await turn();
  return {client, lines};
}

/** again breaks the connection and waits for the next one. */
async function again(lines) {
  Socket.last.end();
  await pass(60_000);
  expect(lines, "error close 1006");
  return Socket.last;
}

test("a restart of the server, a lost store and a gap", async () => {
  const {client, lines} = await open({query: {user: "bob"}}, ["news"]);
  let s = Socket.last;
  assert.equal(s.offered, "fanfare.v1");
  assert.deepEqual(s.query, ["topic=news", "user=bob"]);
  s.accept(hello(4, "E1"), {type: "subscribe", topic: "news", offset: 8, epoch: "E1"},
    stored(5, "E1", "five"), stored(9, "E1", "nine", {topic: "news"}), {type: "message", text: "live"},
    {type: "message", offset: 6, epoch: "E1", base64: "w6k=", utf8: true}, {type: "message", offset: 7, epoch: "E1", base64: "AP8="},
    {type: "presence", topic: "news", members: 2, joined: ["ann"]}); // which it does not know
  await turn();
  expect(lines.sort(), "inbox 0,255", "inbox five", "inbox live", "inbox é", "news nine");
  assert.deepEqual(s.acks().sort(), ["5 E1", "6 E1", "7 E1", "news 9 E1"]);

  // It resumes, drops what it has, and repeats the acknowledgements, which may have been lost.
  s = await again(lines);
  assert.deepEqual(s.query, ["epoch.news=E1", "epoch=E1", "offset.news=9", "offset=7", "topic=news", "user=bob"]);
  s.accept(hello(7, "E1"), {type: "subscribe", topic: "news", offset: 9, epoch: "E1"},
    stored(7, "E1", "again"), stored(10, "E1", "ten"), stored(10, "E1", "also ten", {topic: "news"}));
  await turn();
  expect(lines, "inbox ten", "news also ten");
  assert.deepEqual(s.acks().sort(), ["10 E1", "7 E1", "news 10 E1", "news 9 E1"]);

  // A restart names the same history by another epoch.
  s = await again(lines);
  s.accept(hello(10, "E2"), stored(11, "E2", "eleven"));
  await turn();
  expect(lines, "inbox eleven");
  assert.deepEqual(s.acks(), ["10 E2", "11 E2"]);

  // The store was lost: offsets begin again, and nothing is a duplicate.
  s = await again(lines);
  assert.deepEqual(s.query.filter(q => /^(offset|epoch)=/.test(q)), ["epoch=E2", "offset=11"]);
  s.accept(hello(0, "E3", {gap: true}), stored(1, "E3", "one"));
  await turn();
  expect(lines, "gap inbox", "inbox one");
  assert.deepEqual(s.acks(), ["1 E3"]);

  // Within a session: the store is replaced, and messages expire.
  s.say(stored(1, "E4", "one of E4", {gap: true}), stored(7, "E4", "seven", {gap: true}));
  await turn();
  expect(lines, "gap inbox", "inbox one of E4", "gap inbox", "inbox seven");
  assert.deepEqual(s.acks(), ["1 E3", "1 E4", "7 E4"]);

  // No store, or one that is not available yet.
  s = await again(lines);
  s.accept(hello(), {type: "message", text: "live"}, hello(7, "E4"), stored(8, "E4", "eight"));
  await turn();
  expect(lines, "inbox live", "inbox eight");
  client.close();
  assert.equal(s.closed, 1000);
  await pass(60_000);
  assert.equal(Socket.last, s);
});

test("positions are kept in a storage, by user and topic", async () => {
  const saved = new Map();
  const storage = {getItem: k => saved.get(k) ?? null, setItem: (k, v) => saved.set(k, v)};
  const options = {store: localStorageStore(storage), user: "bob"};
  const first = await open(options, ["news"]);
  Socket.last.accept(hello(3, "E1"), {type: "subscribe", topic: "news", offset: 5, epoch: "E1"}, stored(4, "E1", "four"));
  await turn();
  first.client.close();
  assert.deepEqual([...saved], [['fanfare ["bob","news"]', '{"offset":5,"epoch":"E1"}'], ['fanfare ["bob",null]', '{"offset":4,"epoch":"E1"}']].sort().reverse());
  const second = await open(options, ["sports"]);
  assert.deepEqual(Socket.last.query, ["epoch=E1", "offset=4", "topic=sports"]);
  second.client.close();
  options.store.save('fanfare ["bob",null]', {offset: 3, epoch: "E1"}); // by a slower tab
  assert.deepEqual(options.store.load('fanfare ["bob",null]'), {offset: 4, epoch: "E1"});
  saved.set('fanfare ["bob",null]', "{");
  const third = await open(options);
  assert.deepEqual(Socket.last.query, []);
  third.client.close();
  assert.throws(() => new Client({url: "ws://x/", store: memoryStore()}), /name the user/);
  assert.throws(() => new Client({url: "ws://x/", shareTabs: true}), /name the user/);
});

test("a handler that fails gets the message again, and what follows waits", async () => {
  const {client, lines} = await open();
  let broken = true;
  client.inbox(async m => { if (broken && m.text === "two") throw new Error("no"); });
  const s = Socket.last.accept(hello(0, "E1"), stored(1, "E1", "one"), stored(2, "E1", "two"), stored(3, "E1", "three"));
  await turn();
  expect(lines, "inbox one", "inbox two", "error handler no");
  assert.deepEqual(s.acks(), ["1 E1"]);
  await pass(1_000);
  expect(lines, "error handler no"); // the handler that has succeeded is not called again
  await pass(1_000);
  expect(lines); // the delay grows
  broken = false;
  await pass(1_000);
  expect(lines, "inbox three");
  assert.deepEqual(s.acks(), ["1 E1", "2 E1", "3 E1"]);
  // Message.ack gives up on a message.
  client.inbox(m => { m.ack(); throw new Error("never"); });
  s.say(stored(4, "E1", "four"));
  await turn();
  expect(lines, "inbox four", "error handler never");
  assert.deepEqual(s.acks().at(-1), "4 E1");
  client.close();
});

test("a message is acknowledged in the session and the epoch in which its handler is done", async () => {
  const {client, lines} = await open();
  let done;
  client.inbox(() => new Promise(resolve => done = resolve));
  Socket.last.accept(hello(0, "E1"), stored(1, "E1", "one"));
  await turn();
  expect(lines, "inbox one");
  let s = await again(lines);
  assert.deepEqual(s.query, ["epoch=E1", "offset=1"]); // it is not wanted twice
  done();
  await turn();
  assert.deepEqual(s.acks(), []);
  s.accept(hello(1, "E2"));
  await turn();
  assert.deepEqual(s.acks(), ["1 E2"]);
  s.say(stored(2, "E2", "two"));
  await turn();
  s.say(hello(0, "E3", {gap: true})); // lost: an old offset means nothing here
  done();
  await turn();
  expect(lines, "inbox two", "gap inbox");
  assert.deepEqual(s.acks(), ["1 E2"]);
  client.close();
});

test("manual acknowledgement", async () => {
  const saved = memoryStore();
  const client = new Client({url: "ws://push.test/ws", WebSocket: Socket, ack: "manual", store: saved, user: "bob"});
  const messages = [];
  client.inbox(m => { messages.push(m); });
  client.connect();
  await turn();
  const s = Socket.last.accept(hello(0, "E1"), stored(1, "E1", "one"), stored(2, "E1", "two"), stored(3, "E1", "three"));
  await turn();
  assert.equal(messages.length, 3);
  assert.deepEqual(s.acks(), []);
  messages[1].ack();
  messages[0].ack(); // covered
  await turn();
  assert.deepEqual(s.acks(), ["2 E1"]);
  assert.deepEqual(saved.load('fanfare ["bob",null]'), {offset: 2, epoch: "E1"});
  client.close();
});

test("a position is stored before it is acknowledged", async () => {
  let fail = true;
  const saved = [];
  const store = {
    load: async () => ({offset: 6, epoch: "E1"}),
    save: async (key, p) => { if (fail) throw new Error("full"); saved.push(p.offset); },
  };
  const {client, lines} = await open({store, user: "bob"});
  assert.deepEqual(Socket.last.query, ["epoch=E1", "offset=6"]);
  const s = Socket.last.accept(hello(6, "E1"), stored(7, "E1", "seven"));
  await turn();
  expect(lines, "inbox seven", "error store full");
  assert.deepEqual(s.acks(), []);
  fail = false;
  s.say(stored(8, "E1", "eight"));
  await pass(1_000);
  expect(lines, "inbox eight");
  assert.deepEqual([s.acks(), saved], [["8 E1"], [8]]);
  client.close();
});

test("handlers that are too slow", async () => {
  const {client, lines} = await open({maxPending: 10});
  let done;
  client.inbox(m => new Promise(resolve => done = resolve));
  const s = Socket.last.accept(hello(0, "E1"), stored(1, "E1", "123456"), stored(2, "E1", "7890123"));
  await turn();
  expect(lines, "error overflow", "inbox 123456");
  assert.equal(client.state, "paused");
  assert.equal(s.closed, 1000);
  done();
  await turn();
  done();
  await turn();
  assert.notEqual(Socket.last, s);
  assert.deepEqual(Socket.last.query, ["epoch=E1", "offset=2"]);
  Socket.last.accept(hello(2, "E1"));
  await turn();
  assert.deepEqual(Socket.last.acks(), ["2 E1"]);
  client.close();
});

test("another user", async () => {
  const {client, lines} = await open();
  Socket.last.accept(hello(3, "E1"));
  const s = await again(lines);
  s.accept({type: "hello", user: "carol", offset: 3, epoch: "E1"}, stored(4, "E1", "hers"));
  await pass(60_000);
  expect(lines, "error user final");
  assert.equal(client.state, "closed");
  assert.equal(Socket.last, s);
});
