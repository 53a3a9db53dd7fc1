package server

import "fanfare/server/internal/secure"

// TLSStats describe the TLS handshakes of the public listener: three present values, and
// counters since New. Clients that send nothing are in Stats.Aborted only.
type TLSStats struct {
	Running  int              `json:"running" metric:"handshakes_running" help:"TLS handshakes under way."`
	Limit    int              `json:"limit" metric:"handshakes_limit" help:"Limit of fanfare_tls_handshakes_running."`
	Waiting  int              `json:"waiting" metric:"handshakes_waiting" help:"TLS handshakes that wait because the limit is reached."`
	Done     map[string]int64 `json:"handshakes_by_version" metric:"handshakes_total,version" help:"Completed TLS handshakes, by version."`
	Resumed  int64            `json:"resumed" metric:"resumed_total" help:"Completed TLS handshakes that resumed a session."`
	Failures map[string]int64 `json:"failures_by_reason" metric:"handshake_failures_total,reason" help:"TLS handshakes that failed, by reason."`
}

func newTLSStats(s secure.Stats) *TLSStats {
	return &TLSStats{Running: s.Running, Limit: s.Limit, Waiting: s.Waiting, Done: s.Handshakes, Resumed: s.Resumed, Failures: s.Failures}
}
