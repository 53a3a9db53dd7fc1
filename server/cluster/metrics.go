package cluster

// EachMetric calls f for each metric, for a program that exports them. A name that ends
// with "_total" is a counter's. label and value are empty for a metric without a label.
func (c *Cluster) EachMetric(f func(name, help, label, value string, n int64)) {
	s := c.Stats()
	connected := int64(0)
	if s.Connected {
		connected = 1
	}
	for _, m := range []struct {
		name, help string
		n          int64
	}{
		{"connected", "1 while connected to NATS, else 0.", connected},
		{"max_payload_bytes", "Limit of one message of the NATS server; 0 until it is known.", s.MaxPayload},
		{"queued_bytes", "Bytes waiting to be sent to NATS.", int64(s.QueuedBytes)},
		{"sent_total", "NATS messages sent.", s.Sent},
		{"sent_bytes_total", "Bytes sent to NATS.", s.SentBytes},
		{"received_total", "NATS messages received.", s.Received},
		{"received_bytes_total", "Bytes received from NATS.", s.ReceivedBytes},
		{"asked_total", "Commands sent to other nodes.", s.Asked},
		{"missing_answers_total", "Answers of other nodes that did not arrive in time.", s.Missing},
		{"served_total", "Commands of other nodes that were executed.", s.Served},
		{"panics_total", "Panics recovered while messages of other nodes were handled.", s.Panics},
		{"missed_total", "Times that commands of other nodes may have been lost.", s.Missed},
		{"repeated_total", "Announcements of stored messages that were repeated.", s.Repeated},
		{"connects_total", "Connections made to NATS.", s.Connects},
		{"stalls_total", "Connections given up because NATS did not answer.", s.Stalls},
		{"duplicate_names_total", "Nodes seen with the name of this node.", s.DuplicateNames},
		{"clocks_ahead_total", "Nodes seen with a clock more than 5 s ahead of this node's.", s.ClocksAhead},
	} {
		f(m.name, m.help, "", "", m.n)
	}
	for _, d := range []struct {
		reason string
		n      int64
	}{
		{"unreachable", s.Dropped.Unreachable}, {"queue_full", s.Dropped.QueueFull}, {"expired", s.Dropped.Expired}, {"too_big", s.Dropped.TooBig},
		{"slow_node", s.Dropped.SlowNode}, {"malformed", s.Dropped.Malformed}, {"version", s.Dropped.Version}, {"incomplete", s.Dropped.Incomplete},
	} {
		f("dropped_total", "NATS messages dropped, by reason: unreachable, queue_full, expired and too_big going out, the others coming in.", "reason", d.reason, d.n)
	}
}
