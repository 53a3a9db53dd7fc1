package stats_test

import (
	"fmt"
	"time"

	"fanfare/netpoll"
	"fanfare/server/stats"
)

// What happens is counted at once, and read as a whole.
func Example() {
	var counters stats.Counters
	counters.Handshakes.Add(2)
	counters.Reject(401)
	counters.Close(1001)
	counters.Latency[stats.ToUser].Add(3 * time.Millisecond)
	s := counters.Snapshot(netpoll.Stats{})
	fmt.Println(s.Handshakes, s.Rejected["401"], s.Closes["1001"], s.Delivery["user"].Count)
	// Output: 2 1 1 1
}
