// Package messagenats hands what clients send to a NATS subject: to programs that answer
// requests, to a stream of JetStream, or to subscribers.
//
//	subject, err := messagenats.Open(messagenats.Config{
//		URL:     "nats://127.0.0.1:4222",
//		Subject: "chat.messages",
//	})
//	…
//	endpoint := server.PushEndpoint("/ws")
//	endpoint.Respond = subject.Respond
//
// # Contract
//
// The payload of a NATS message is a [Message], as package messagehook posts it. Its id is in the
// header Nats-Msg-Id, too, by which JetStream finds duplicates. [Config.Answer] says what the server waits for, and what a client is told:
//
//   - [Reply]: the reply of a program that has subscribed. Its payload is the answer, binary if
//     its header Content-Type is application/octet-stream, and text, which must be UTF-8,
//     otherwise; an empty one means that the client gets no answer. The header
//     Nats-Service-Error rejects the message, for a reason that the client is told; it is that of NATS's
//     services (ADR-32).
//   - [Stored]: the acknowledgement of a stream that has the subject. The client gets no answer.
//   - [Published]: that the NATS server has read it. Subscribers receive it at most once, and
//     whether there is any is not known. The client gets no answer.
//
// A message is sent once. A client of fanfare.v1 is told of errors, and may send it again; they
// are counted, and logged at most once a second. After failures in a row, such as replies that do
// not come, a circuit breaker rejects messages at once for a while.
//
// How many messages are under way at a time, and how many wait, is in server.Config: Responders
// and ResponderQueue.
package messagenats
