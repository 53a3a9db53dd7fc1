// Package api serves the HTTP API of a server: pushes for the operator's backend,
// administration, health, and metrics.
//
//	a, err := api.New(srv, api.Config{Listen: "127.0.0.1:8081"})
//	...
//	err = a.Start()
//
// The API has a listener of its own, and is not meant for browsers or the public. With
// Config.Keys, a request needs one of them; without, the API listens on loopback or a Unix
// socket, and rejects what pages in a browser send. docs/api.md has the requests, and
// docs/openapi.yaml their schemas.
//
// # Contract
//
//   - Nothing in a request is ignored: a parameter, document field or header field that the
//     API does not support, and that would change what the request means, is an error.
//   - A message is pushed once its request is complete, or not at all.
//   - An answer that does not count every node of the cluster has "complete":false.
//   - A push that is to be stored is answered when it is stored.
//   - Lines of a batch are served and answered in order.
//   - /readyz means "send clients": it does not depend on the store or the cluster, unless
//     Config.ReadyNeedsStore says so. /healthz?strict does.
//   - Handlers recover from panics: the request is answered 500, the stack is logged, and
//     fanfare_api_panics_total counts it.
//   - Shutdown closes idle connections, and lets requests in progress finish within 2 s.
//
// # Limits
//
// Connections are bounded by Config.MaxConnections, heads by 16 KiB, bodies by
// server.Config.MaxPayload and documents by about twice that, answers that a batch's client
// does not read by 8 MiB, and 64 MiB for all batches. Work on long bodies uses all
// processors but one.
//
// # Memory and ownership
//
// The API copies what it pushes: bodies are in pooled buffers that are free again before
// the answer. The API borrows the Server, its Store and its Cluster: shut it down before
// them. A Config.Cluster that implements Measured exports its metrics here, too.
//
// # Limitations
//
//   - HTTP/1.1 without TLS: put a proxy in front of it for more.
//   - Bodies are not decompressed.
//   - Requests are not limited in rate: callers with a key are trusted.
package api
