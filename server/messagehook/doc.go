// Package messagehook has the operator's backend answer what clients send: an HTTP request
// for each message.
//
//	hook, err := messagehook.New(messagehook.Config{
//		URL:     "https://backend.example/fanfare/message",
//		Secrets: [][]byte{secret},
//	})
//	…
//	endpoint := server.PushEndpoint("/ws")
//	endpoint.Respond = hook.Respond
//
// # Contract
//
// The backend gets a POST with a [Message], signed as Standard Webhooks does. The body of an
// answer with 200 is the answer to the client, binary if its type is
// application/octet-stream, and text, which must be UTF-8, otherwise; 204 or an empty body
// means that the client gets no answer. A status of 400 to 499, except 408 and 429, rejects the message, for a reason
// that the client is told; anything else is a failure, of which a client of fanfare.v1 learns.
// After failures in a row a circuit breaker rejects messages at once for a while. Failures
// are counted and logged, the latter at most once a second.
//
// A message is posted once: a client that gets no answer may send it again. The backend finds
// repetitions by the ID that the client gave its request, together with the user, where
// clients choose IDs that they do not use again.
//
// How many requests are under way at a time, and how many messages wait, is in
// server.Config: Responders and ResponderQueue.
package messagehook
