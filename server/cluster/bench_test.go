package cluster

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	fanfare "fanfare/server"
)

// BenchmarkAsk is a push of 128 bytes to a user of another node, and a broadcast,
// by the number of nodes. It reports the messages that the NATS server received
// and sent for each, beats included.
func BenchmarkAsk(b *testing.B) {
	for _, nodes := range []int{1, 2, 4, 8} {
		for _, to := range []fanfare.Target{user("alice"), {}} {
			name := "push"
			cmd := &fanfare.Command{Verb: fanfare.VerbPush, User: "alice", Op: fanfare.Binary, Payload: make([]byte, 128)}
			if to == (fanfare.Target{}) {
				name = "broadcast"
				cmd = &fanfare.Command{Verb: fanfare.VerbBroadcast, Op: fanfare.Binary, Payload: make([]byte, 128)}
			}
			b.Run(fmt.Sprintf("%s/nodes=%d", name, nodes), func(b *testing.B) {
				ns := startNATS(b)
				all := joinAll(b, ns.ClientURL(), nodes)
				if nodes > 1 && name == "push" {
					all[1].Hold(to)
					known(b, to, all[0])
				}
				before := traffic(b, ns.Server)
				for b.Loop() {
					if _, err := all[0].Ask(b.Context(), to, cmd); err != nil {
						b.Fatal(err)
					}
				}
				after := traffic(b, ns.Server)
				b.ReportMetric(float64(after[0]-before[0])/float64(b.N), "messages/op")
				b.ReportMetric(float64(after[1]-before[1])/float64(b.N), "NATS-B/op")
			})
		}
	}
}

// traffic returns messages and bytes that a NATS server received and sent.
func traffic(b *testing.B, ns *server.Server) [2]int64 {
	v, err := ns.Varz(nil)
	if err != nil {
		b.Fatal(err)
	}
	return [2]int64{v.InMsgs + v.OutMsgs, v.InBytes + v.OutBytes}
}
