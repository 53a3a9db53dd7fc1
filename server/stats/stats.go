package stats

// Stats describe a server: its state now, and counters since the server was made.
//
// The tag metric of a field is its name as a Prometheus metric, without the prefix
// "fanfare_", and after a comma the name of the label whose values are the keys of a map.
// A name that ends with "_total" is that of a counter. Package api exports every field that
// has this tag. In the tag of a struct it is a prefix for the names in it. A string with the
// tag info is a label of fanfare_info.
type Stats struct {
	Transport     string  `json:"transport" info:"transport"`
	Status        string  `json:"status"`
	UptimeSeconds float64 `json:"uptime_seconds"`

	Sessions        int64 `json:"sessions" metric:"sessions" help:"Open sessions."`
	Users           int   `json:"users" metric:"users" help:"Users with a session."`
	Topics          int   `json:"topics" metric:"topics" help:"Topics with a subscriber."`
	Connections     int64 `json:"connections" metric:"connections" help:"Open connections, including those in their handshake."`
	MaxConnections  int   `json:"max_connections" metric:"connections_limit" help:"Limit of fanfare_connections."`
	Nodes           int   `json:"nodes" metric:"nodes" help:"Live nodes of the cluster, including this one."`
	Workers         int   `json:"workers" metric:"workers" help:"Goroutines that serve ready connections."`
	QueuedBytes     int64 `json:"queued_bytes" metric:"queued_bytes" help:"Bytes in the outbound queues of all connections."`
	UnfinishedBytes int64 `json:"unfinished_bytes" metric:"unfinished_bytes" help:"Memory of handshakes and messages that are not complete."`

	Handshakes    int64 `json:"handshakes" metric:"handshakes_total" help:"Completed handshakes."`
	Unspoken      int64 `json:"unspoken_protocols" metric:"unspoken_protocols_total" help:"Completed handshakes whose client offered sub-protocols, none of which the endpoint has. Browsers then close the connection."`
	Aborted       int64 `json:"aborted_handshakes" metric:"aborted_handshakes_total" help:"Connections that ended before their request was complete."`
	Refreshes     int64 `json:"refreshes" metric:"refreshes_total" help:"Sessions whose identity was refreshed."`
	Fallback      int64 `json:"plain_requests" metric:"plain_requests_total" help:"Requests on the public listener that are not handshakes."`
	Received      int64 `json:"messages_received" metric:"received_total" help:"Messages received from clients."`
	ReceivedBytes int64 `json:"received_bytes" metric:"received_bytes_total" help:"Bytes read from connections, without what TLS adds."`
	SentBytes     int64 `json:"sent_bytes" metric:"sent_bytes_total" help:"Bytes written to connections, without what TLS adds."`
	Pings         int64 `json:"pings" metric:"pings_total" help:"Heartbeats sent."`
	Dead          int64 `json:"missed_heartbeats" metric:"missed_heartbeats_total" help:"Sessions closed because of a missed heartbeat."`
	Slow          int64 `json:"slow_consumers"` // sessions closed because their queue was full: Dropped["slow"]
	Forced        int64 `json:"forced_closes" metric:"forced_closes_total" help:"Closing handshakes that timed out."`
	Panics        int64 `json:"hook_panics" metric:"hook_panics_total" help:"Panics recovered in hooks, dialects, Config.Fallback, the cluster, the store, the observer, and connections given to Adopt."`

	ProxyErrors int64 `json:"proxy_header_errors" metric:"proxy_header_errors_total" help:"Connections rejected for their PROXY protocol header: missing, malformed, or from another address than the proxies'."`

	Rejected  map[string]int64 `json:"rejected_by_status" metric:"rejected_total,status" help:"Rejected connections and handshakes, by HTTP status."`
	Limited   map[string]int64 `json:"stopped_by_limit" metric:"limited_total,limit" help:"Connections, handshakes, sessions and requests stopped by a limit."`
	Delivered map[string]int64 `json:"messages_delivered" metric:"delivered_total,kind" help:"Messages written or queued to a session, by kind of push."`
	Dropped   map[string]int64 `json:"dropped_by_reason" metric:"dropped_total,reason" help:"Messages that did not reach a session, by reason."`
	Conflated int64            `json:"messages_conflated" metric:"conflated_total" help:"Messages that a newer one with the same conflate name has replaced, in an outbound queue or while they waited because of their rate."`
	// RatedWaiting and RatedEarly are messages with a rate.
	RatedWaiting int64 `json:"rated_waiting" metric:"rated_waiting" help:"Messages that wait because of their rate."`
	RatedEarly   int64 `json:"rated_early" metric:"rated_early_total" help:"Messages sent before their time, because the names of their session, and what waits, cost more than the outbound queue may."`
	// ReceiptPings and ReceiptPongs are those of all receipts.
	ReceiptPings int64            `json:"receipt_pings" metric:"receipt_pings_total" help:"Pings sent after messages with a receipt."`
	ReceiptPongs int64            `json:"receipt_pongs" metric:"receipt_pongs_total" help:"Pongs that confirmed a message with a receipt."`
	Closes       map[string]int64 `json:"closes_by_code" metric:"closes_total,code" help:"Ended sessions, by close code (RFC 6455, 7.4)."`

	// Publishes are those of clients, Requests what they send to a Responder. ClientWaiting
	// are those of both that wait, or are being worked on.
	Publishes     map[string]int64 `json:"client_publishes" metric:"client_publishes_total,result" help:"Messages that clients published, by result."`
	Requests      map[string]int64 `json:"client_requests" metric:"client_requests_total,result" help:"Messages of clients for the application, by result."`
	ClientWaiting int              `json:"client_messages_waiting" metric:"client_messages_waiting" help:"Messages of clients that wait for an answer, or are being worked on."`

	// Delivery has the pushes with a receiver on this node: to a user, to a topic, to all
	// (broadcast), to several users and topics, and durable ones. The time begins when
	// this node accepts the push, from a call of Push for instance, and ends when the
	// message is written or queued to the last receiver of this node; for a durable message
	// it includes storing it, and does not include sessions that read it from the store
	// later.
	Delivery map[string]Histogram `json:"delivery" metric:"delivery_seconds,kind" help:"Time from accepting a push to writing or queueing it to its last receiver on this node, by kind of push. For a durable message it includes storing it."`

	Opened    int64 `json:"connections_opened" metric:"connections_opened_total" help:"Connections accepted."`
	Closed    int64 `json:"connections_closed" metric:"connections_closed_total" help:"Connections closed."`
	Broken    int64 `json:"broken_writes" metric:"broken_writes_total" help:"Connections whose peer was gone at a write."`
	Stale     int64 `json:"stale_events" metric:"stale_events_total" help:"Events for connections that were already closed."`
	Starved   int64 `json:"accept_pauses" metric:"accept_pauses_total" help:"Times that accepting paused for lack of descriptors or memory."`
	Overrun   int64 `json:"workers_overrun" metric:"workers_overrun_total" help:"Workers started because a batch took too long."`
	Blocked   int64 `json:"workers_started_blocked" metric:"workers_blocked_total" help:"Times that workers were started because hooks blocked."`
	Saturated int64 `json:"workers_saturated" metric:"workers_saturated_total" help:"Times that the limit of workers was reached."`
	Yielded   int64 `json:"turns_yielded" metric:"turns_yielded_total" help:"Connections requeued because they had more work than one turn may take."`

	// Waits has the batches of ready connections.
	Waits Histogram `json:"batches" metric:"batch_seconds" help:"Upper bound of the time that a ready connection waited for its turn: from the poll to the last turn of its batch."`

	// TLS is nil without TLS.
	TLS *TLS `json:"tls,omitzero" metric:"tls_"`
	// Replay is nil without a store.
	Replay *Replay `json:"replay,omitzero" metric:"replay_"`
}

// Replay describes the delivery of stored messages: two present values, and
// counters since the server was made.
type Replay struct {
	Sessions int `json:"sessions" metric:"sessions" help:"Sessions that stored messages were or are sent to."`
	Waiting  int `json:"waiting" metric:"waiting" help:"Sessions whose replay waits for a worker or the store."`

	Replayed   int64 `json:"replayed" metric:"messages_total" help:"Stored messages written to sessions."`
	Gaps       int64 `json:"gaps" metric:"gaps_total" help:"Gaps announced to sessions."`
	Resets     int64 `json:"resets" metric:"resets_total" help:"Sessions that resumed with an offset of another epoch."`
	Expired    int64 `json:"expired" metric:"expired_total" help:"Stored messages not delivered because they had expired."`
	Damaged    int64 `json:"damaged" metric:"damaged_total" help:"Reads of stored messages that found damage."`
	TooBig     int64 `json:"too_big_closes" metric:"too_big_closes_total" help:"Sessions that the client closed with 1009 while a stored message was in flight."`
	Skipped    int64 `json:"skipped" metric:"skipped_total" help:"Stored messages skipped because clients closed with 1009, or the dialect failed to encode them, twice."`
	Ignored    int64 `json:"ignored_acks" metric:"ignored_acks_total" help:"Acknowledgements for an earlier epoch of their session."`
	Unstored   int64 `json:"unstored_positions" metric:"unstored_positions_total" help:"Positions in durable topics not stored because the user or the address has the maximum number of them."`
	Unanswered int64 `json:"unanswered" metric:"unanswered_total" help:"Sessions that do not answer pings properly."`
	Dropped    int64 `json:"held_dropped" metric:"held_dropped_total" help:"Live messages that waited for older stored ones when their session ended."`
	Panics     int64 `json:"panics" metric:"panics_total" help:"Sessions closed because of a panic during replay."`
}

// TLS describes the TLS handshakes of the public listener: three present values, and
// counters since New. Clients that send nothing are in Stats.Aborted only.
type TLS struct {
	Running  int              `json:"running" metric:"handshakes_running" help:"TLS handshakes under way."`
	Limit    int              `json:"limit" metric:"handshakes_limit" help:"Limit of fanfare_tls_handshakes_running."`
	Waiting  int              `json:"waiting" metric:"handshakes_waiting" help:"TLS handshakes that wait because the limit is reached."`
	Done     map[string]int64 `json:"handshakes_by_version" metric:"handshakes_total,version" help:"Completed TLS handshakes, by version."`
	Resumed  int64            `json:"resumed" metric:"resumed_total" help:"Completed TLS handshakes that resumed a session."`
	Failures map[string]int64 `json:"failures_by_reason" metric:"handshake_failures_total,reason" help:"TLS handshakes that failed, by reason."`
}
