package stats

// Status is the phase of a Server's life.
type Status uint32

// The phases, in order.
const (
	Starting Status = iota // New has returned
	Serving                // connections are accepted
	Leaving                // Drain was called; connections are accepted for Config.DrainDelay
	Draining               // sessions are being closed
	Stopped                // Shutdown has returned
)

var statusNames = [...]string{Starting: "starting", Serving: "serving", Leaving: "leaving", Draining: "draining", Stopped: "stopped"}

// String returns the name of the phase, such as "serving".
func (s Status) String() string { return statusNames[s] }
