package messagenats

// What becomes of a message, in the order of resultNames.
const (
	answered = iota
	empty    // accepted, without an answer
	rejected // by the program that answers
	invalid  // answers
	tooBig   // for NATS
	failed   // nothing has taken the message
	timedOut
	skipped  // messages that the breaker has not let through
	canceled // because the server ended
	results
)

var resultNames = [results]string{"answered", "empty", "rejected", "invalid", "too_big", "failed", "timeout", "skipped", "canceled"}

// EachMetric calls f for each metric, see api.Measured.
func (s *Subject) EachMetric(f func(name, help, label, value string, n int64)) {
	for i, name := range resultNames {
		f("message_subject_total", "Messages of clients for the NATS subject, by result.", "result", name, s.results[i].Load())
	}
	f("message_subject_requests", "Messages for the NATS subject that wait for their answer.", "", "", s.running.Load())
	f("message_subject_open", "1 while the circuit breaker lets no message through.", "", "", s.breaker.Open())
}
