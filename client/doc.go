// Package client receives the messages of a user, and of topics, from a fanfare server. It
// reconnects, resumes where it was, and acknowledges what the handlers have done.
//
//	c, err := client.New(client.Config{URL: "wss://push.example.com/ws", Token: token, Inbox: show, Gap: reload})
//	if err != nil {
//		log.Fatal(err)
//	}
//	c.Subscribe("scores.final", update)
//	err = c.Run(ctx)
//
// # Contract
//
//   - Run connects, and reconnects until its context ends or the server says that there is no
//     use in it: then it returns a [*CloseError], a [*HandshakeError] or another error of this
//     package. Errors that it recovers from go to Config.Error.
//   - Delays are random between zero and a bound that doubles up to Config.MaxDelay, and not
//     shorter than the server wants.
//   - Stored messages of the inbox, or of one topic, are handled one at a time, in their
//     order. One whose handler fails is handled again after a delay, and what follows waits.
//     The inbox and each topic do not wait for each other.
//   - A message is acknowledged when its handler has returned nil and its position is stored,
//     or with Config.ManualAck by [Message.Ack]. A message may be handled again if the
//     program ends between its handler and the store.
//   - Duplicates are dropped. Messages that are not available any more are reported by
//     Config.Gap, before the next message.
//   - A server that is faster than the handlers is disconnected at Config.MaxPending, until
//     they have caught up. Live messages are lost meanwhile, stored ones are not.
//   - A connection without any sign of life for Config.PingInterval is pinged.
//
// [Client.Publish] and [Client.Request] send in the open session, and wait for the answer. They
// repeat nothing.
//
// Only messages of a durable topic name their topic; live messages of all kinds are handled
// by Config.Inbox, each on its own goroutine.
//
// # Borrowed memory
//
// A Message and its Data belong to the handler.
//
// # Limitations
//
// The dialect is fanfare.v1 over WebSocket. Run is called once.
package client
