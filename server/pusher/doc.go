// Package pusher serves the Pusher Channels protocol, version 7, so that applications which use
// its client and server libraries work with another host and other keys. It has a dialect of
// package server for clients, whose endpoint is "/app/{key}", and an http.Handler for backends,
// which serves "/apps/{id}/…":
//
//	channels, err := pusher.New(pusher.Config{Apps: apps})
//	srv, err := server.New(server.Config{Endpoints: []server.Endpoint{channels.Endpoint()}, Fallback: channels.Handler(nil)})
//	err = channels.Serve(srv)
//
// # Contract
//
// The channels of an app are topics of the server whose names begin with "pusher/ID/", see
// [App.Topic], and a session belongs to a user of its own, "pusher/ID/SOCKET", because the
// protocol identifies clients after the handshake, if at all. So messages are pushed, encoded
// once, queued and counted as those of any other session.
//
// A message that does not come through this package, such as a broadcast of the server, reaches
// the clients as it is if it is a JSON object whose first member is "event", and otherwise as
// the event "fanfare:message" with the payload as its data.
//
// Signatures are compared in constant time. Secrets are in no log line and in no error.
// Everything that a client or a backend can use up is bounded: see [App].
//
// # Order
//
// Changes of the subscribers of an app have one order, and what follows from them (replies to
// subscriptions of presence channels, member_added and member_removed, webhooks) happens in that
// order, one after another, without a lock held: see sequence. Messages of one request to the
// HTTP API are published in their order.
//
// # Clusters
//
// The nodes of a cluster share the members of presence channels, the users who have signed in, and,
// if a webhook wants to know, which channels are occupied: see Config.Occupancy. Every node
// follows one log of what has changed and tells its own subscribers, so that the order is the same
// everywhere, and one node tells the webhooks. Numbers are asked of all nodes when they are needed.
//
// # Missed messages
//
// A channel of App.Durable is a durable topic of the server. Its messages are stored before a
// request is answered, and a client that subscribes again receives what it has missed: see
// durable.go for whose position that is. Pongs of the WebSocket protocol acknowledge, so that
// the client needs no change.
//
// # Limitations
//
// The nodes of a cluster serve no cache channels: a subscription and an event are answered with an
// error. Webhooks are queued in memory, and lost when the process ends.
// The transports for clients without WebSocket (SockJS) are not served.
package pusher
