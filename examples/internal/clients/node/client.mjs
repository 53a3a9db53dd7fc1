// A WebSocket client on the ws package, driven by the tests: it connects to the
// URL of its first argument, writes a line of JSON to stdout for every event, and
// sends every line of stdin as a message. The end of stdin closes the connection.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const socket = new WebSocket(process.argv[2]);

socket.on("open", () => {
  tell({ event: "open" });
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => socket.send(line));
  lines.on("close", () => socket.close(1000, "bye"));
});
socket.on("message", (data, binary) => tell({ event: "message", text: data.toString(), binary }));
socket.on("close", (code, reason) => {
  tell({ event: "close", code, reason: reason.toString() });
  process.stdin.destroy();
});
socket.on("unexpected-response", (request, response) => {
  tell({ event: "rejected", code: response.statusCode });
  process.exit();
});
socket.on("error", (error) => tell({ event: "error", text: error.message }));
