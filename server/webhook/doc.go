// Package webhook posts events of a server to HTTP endpoints of the operator: sessions that
// open and close, users who come and go, topics, messages of clients.
//
// A [Service] is a server.Observer. What it observes goes through a bounded buffer in memory
// (intake.go) to one goroutine (recorder.go), which decides who is online (presence.go) and
// stores the events in a queue (queue.go): JetStream in Config.Dir or at Config.URL, or
// memory. A goroutine for each [Hook] takes them from there and posts them (deliver.go).
//
// # Contract
//
// Observe never waits: neither a webhook nor the queue can delay a session or a push. If the
// buffer or the queue is full, new events are dropped and counted, and the next batch says
// how many.
//
// An event that is stored is posted at least once, in batches, in the order of storing,
// until the webhook answers with 2xx. A batch that fails is posted again before all later
// ones; its events have the same identifiers. It becomes a dead letter when its oldest event
// is older than Config.MaxAge, or when the webhook has rejected it ten times. After 410 all
// batches of the webhook become dead letters, and new events are dropped, until Reconfigure.
// Dead letters can be listed and replayed; a replayed batch follows those in the queue.
//
// UserOffline is reported when the user had no session for Config.OfflineGrace. With Dir the
// users who are online are in a file, so that UserOffline is also reported after a crash for
// users that do not come back. They are the users of this node. In a cluster package presence
// takes these events instead, and gives those of the cluster to the node that leads (lead.go).
//
// A Service is also a server.Escalator. A record of each message to be escalated is in a stream
// of its own, in the order of storing (escalate_jetstream.go). One goroutine keeps the due times
// in a heap, 16 bytes for each, and looks what the user has acknowledged only when a message is
// due (escalate.go): so an acknowledgement costs nothing. It is that of the node that leads,
// because the events must be in the queue of the cluster: in that of another node they would
// wait for its restart. A consumer of JetStream with delayed redelivery would need no leader,
// but its server looks through all that wait whenever one is due.
//
// Requests are signed as Standard Webhooks 1.0 says (sign.go), with all secrets.
//
// # Loss
//
// A process that is killed loses what is in the buffer, which is emptied within
// milliseconds, and with neither Dir nor URL all that is not posted. A power cut costs up to
// a second of the queue in Dir.
//
// # Limitations
//
// The order of events holds for one node. Positions of dead letters and queues are those of
// one Config.Node: with URL a node that is renamed leaves its queue behind.
package webhook
