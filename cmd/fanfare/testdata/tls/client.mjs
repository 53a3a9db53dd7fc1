// node [--tls-min-v1.3 | --tls-max-v1.2] client.mjs URL: the WebSocket of Node. NODE_EXTRA_CA_CERTS names the authority.
const texts = ["", "hello", "x".repeat(200), "é".repeat(30000)];
const socket = new WebSocket(process.argv[2]);
let at = 0;
socket.onopen = () => socket.send(texts[at]);
socket.onerror = event => fail(`error: ${event.message ?? event.error}`);
socket.onmessage = event => {
  if (event.data !== texts[at]) fail(`message ${at} came back with ${event.data.length} characters`);
  if (++at < texts.length) socket.send(texts[at]);
  else socket.close(1000);
};
socket.onclose = event => {
  if (event.code !== 1000 || at < texts.length) fail(`closed with ${event.code} after ${at} messages`);
  console.log("ok");
};

function fail(why) {
  console.error(why);
  process.exit(1);
}
