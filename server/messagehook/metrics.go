package messagehook

// What becomes of a message, in the order of resultNames.
const (
	answered = iota
	empty    // accepted, without an answer
	rejected // by the backend
	invalid  // answers
	failed   // requests
	timedOut
	skipped  // requests that the breaker has not let through
	canceled // because the server ended
	results
)

var resultNames = [results]string{"answered", "empty", "rejected", "invalid", "failed", "timeout", "skipped", "canceled"}

// EachMetric calls f for each metric, see api.Measured.
func (h *Hook) EachMetric(f func(name, help, label, value string, n int64)) {
	for i, name := range resultNames {
		f("message_hook_total", "Messages of clients for the message hook, by result.", "result", name, h.results[i].Load())
	}
	f("message_hook_requests", "Requests to the message hook under way.", "", "", h.running.Load())
	f("message_hook_open", "1 while the circuit breaker lets no request through.", "", "", h.caller.Open())
}
