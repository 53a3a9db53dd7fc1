// Package sse has the dialects for server-sent events, HTML standard section 9.2: sessions
// that are responses to GET requests of EventSource, fetch or curl. They are values of
// [server.Stream], and an endpoint of package server serves them beside those of WebSocket:
//
//	cfg.Endpoints = []server.Endpoint{server.PushEndpoint("/ws"), sse.PushEndpoint("/sse")}
//
// [Plain] sends payloads as they are, and [V1] the message objects of fanfare.v1, for clients
// that want to know topics and offsets; a client asks for it with ?protocol=fanfare.v1.
//
// # Contract
//
// A message is encoded once for all its receivers. A stored message carries the positions of
// its session in the user's inbox and in all durable topics as its id, so that one
// Last-Event-ID resumes all of them exactly. Messages that are not stored have no id, and
// EventSource keeps the last one. The id is opaque; package server acknowledges what it says
// when the client comes back, or sends it with POST.
//
// Besides messages there are these events, whose data is a JSON object:
//
//	gap     {"topic":"news"}    messages are missing before the next one; without topic: of the inbox
//	close   {"code":1008,"reason":"…"}    the server closes the session, with the close codes of WebSocket
//
// After close with 1008 or 3003 the id is one for which the next request gets 204, so that an
// EventSource does not come back.
//
// # Limitations
//
// An event consists of lines, so that a CR, or CR LF, in a text arrives as LF (HTML standard,
// 9.2.6); V1 preserves both. Binary messages are base64, as the event binary in Plain. The id
// has a hash of 48 bits for each topic, not its name, and positions in topics that the session
// of the next request does not subscribe to are not used. There is no compression.
package sse
