// Package connecthook identifies clients by asking the operator's backend: the handshake
// waits for the answer to an HTTP request that describes it.
//
//	hook, err := connecthook.New(connecthook.Config{
//		URL:     "https://backend.example/fanfare/connect",
//		Secrets: [][]byte{secret},
//		Cookies: []string{"session"},
//	})
//	…
//	endpoint := server.PushEndpoint("/ws")
//	endpoint.Identifier, endpoint.NonBlocking, endpoint.Insecure = hook.Identify, false, false
//
// # Contract
//
// The backend gets a POST with a [Question], signed as Standard Webhooks does, and answers
// 200 with an [Answer]. Anything else is a failure, and never an identity: another status,
// a redirect, an unknown or repeated member, a member of another type, a user that is not
// a valid name. Failures are counted and logged, the latter at most once a second.
//
// Only headers, cookies and query parameters that Config names leave the server. Any other
// query parameter is rejected, as for every Identifier.
//
// A handshake that waits is data in the server's queue, see server.Config.IdentifierQueue,
// and has no goroutine; Config.Concurrency requests are under way at a time, over
// connections that are kept open. A request is canceled when its client leaves. After
// failures in a row a circuit breaker answers clients at once, without a request, for a
// while.
//
// # Limitations
//
// Answers are not cached: every handshake is a request. A session that is open does not
// notice when the backend changes its mind.
package connecthook
