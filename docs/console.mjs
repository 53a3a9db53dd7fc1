// Takes the picture of the console for the README:
//
//	node --experimental-websocket docs/console.mjs http://127.0.0.1:8080/ http://127.0.0.1:8081 docs/console.png
//
// A server with its default settings must be running. Node 22 needs no flag.
import {spawn} from "node:child_process";
import {mkdtempSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {setTimeout as sleep} from "node:timers/promises";

const [page, api, file] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "console-"));
const chromium = spawn("chromium", ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
  "--no-first-run", "--user-data-dir=" + profile, "--remote-debugging-port=0", "about:blank"], {stdio: ["ignore", "ignore", "pipe"]});
const url = await new Promise((resolve, reject) => {
  let log = "";
  chromium.stderr.on("data", d => {
    const found = (log += d).match(/DevTools listening on (ws:\S+)/);
    if (found) resolve(found[1]);
  });
  chromium.on("exit", () => reject(new Error("chromium ended: " + log)));
});
const devtools = new WebSocket(url);
const waiting = new Map();
devtools.onmessage = e => {
  const m = JSON.parse(e.data);
  if (m.id) waiting.get(m.id)(m.result ?? Promise.reject(new Error(m.error.message)));
};
await new Promise(resolve => devtools.onopen = resolve);
let id = 0, sessionId;
const call = (method, params = {}) => new Promise(resolve => {
  waiting.set(++id, resolve);
  devtools.send(JSON.stringify({id, method, params, sessionId}));
});

const push = (path, body, type = "application/json") =>
  fetch(api + path, {method: "POST", body, headers: {"Content-Type": type}});
const {targetId} = await call("Target.createTarget", {url: "about:blank"});
({sessionId} = await call("Target.attachToTarget", {targetId, flatten: true}));
await call("Emulation.setDeviceMetricsOverride", {width: 1200, height: 680, deviceScaleFactor: 1, mobile: false});
await call("Page.navigate", {url: page + "#user=alice&topic=news"});
for (;;) {
  const {online} = await (await fetch(api + "/v1/users/alice")).json();
  if (online) break;
  await sleep(100);
}
await push("/v1/users/alice/push", '{"hello":"world"}');
await push("/v1/topics/news/push", "Rain at noon, sun at three.", "text/plain");
await push("/v1/users/alice/push", '{"order":7,"state":"shipped","carrier":"pigeon"}');
await push("/v1/users/alice/push", Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), "application/octet-stream");
await push("/v1/broadcast", '{"maintenance":"22:00 UTC"}');
await sleep(1000);
const {data} = await call("Page.captureScreenshot", {format: "png"});
writeFileSync(file, Buffer.from(data, "base64"));
chromium.removeAllListeners("exit");
await call("Browser.close").catch(() => {});
chromium.kill();
await sleep(500);
rmSync(profile, {recursive: true, force: true, maxRetries: 5});
process.exit();
