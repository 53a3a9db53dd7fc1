package server

import (
	"context"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/allnodes"
	"fanfare/server/internal/receipt"
	"fanfare/server/node"
)

// ErrNoReceipt: no node has a receipt with this ID. Receipts are forgotten after a while.
var ErrNoReceipt = allnodes.ErrNoReceipt

// Receipt says how many clients have received a message with MessageOptions.Receipt.
type Receipt struct {
	// Written is the number of sessions that the message was written or queued to, on all
	// nodes that have answered.
	Written int
	// Confirmed is the number of these whose client has answered the ping that follows the
	// message. A client may answer only the latest of several pings, so it is a lower bound.
	Confirmed int
	// Silent is the number of these whose dialect has no ping, such as server-sent events:
	// they are never confirmed.
	Silent int
	// Final reports that no further answer counts: a minute has passed.
	Final bool
	// P50, P95 and P99 are times that so many percent of the confirmations have not
	// exceeded, to 9 %: from writing or queueing the message to the answer. 0 if there are none.
	P50, P95, P99 time.Duration
	Coverage
}

// Receipt returns the receipt of a message, by Message.Receipt. A receipt is kept for about ten
// minutes, and a node keeps the last 1,000. The error is ErrNoReceipt.
func (srv *Server) Receipt(ctx context.Context, id string) (Receipt, error) {
	all, coverage, err := srv.nodes.Receipt(ctx, id)
	out := Receipt{Coverage: coverage}
	if err != nil {
		return out, err
	}
	out.Written, out.Confirmed, out.Silent, out.Final = all.Written, all.Confirmed, all.Silent, all.Final
	out.P50 = receipt.Quantile(all.RoundTrips, 0.5)
	out.P95 = receipt.Quantile(all.RoundTrips, 0.95)
	out.P99 = receipt.Quantile(all.RoundTrips, 0.99)
	return out, nil
}

// receiptHere executes VerbReceipt in this process.
func (srv *Server) receiptHere(id string) *node.Receipt {
	c, ok := srv.receipts.Find(id)
	if !ok {
		return nil
	}
	return &node.Receipt{Written: c.Written, Confirmed: c.Confirmed, Silent: c.Silent, Final: c.Final, RoundTrips: c.Trips}
}

// openReceipt makes the receipt of a message known before the first delivery, so that one
// without a receiver can be found, too. The deliveries go on for over, and for the interval of
// the message.
func (srv *Server) openReceipt(m *Message, over time.Duration) {
	if id := m.Receipt(); id != "" {
		srv.receipts.Open(id, srv.now(), over+m.interval())
	}
}

// putWithReceipt is put for a message with a receipt. The message and the ping that
// follows it are one write, so that what drops or replaces the message in the outbound queue
// does so with the ping.
func (s *Session) putWithReceipt(o *options, b []byte, policy netpoll.Policy) netpoll.Outcome {
	srv := s.srv()
	now := srv.now()
	r := srv.receipts.Open(o.receipt, now, 0)
	var room [receipt.PayloadSize]byte
	ping := s.pingFrame(r.AppendPing(room[:0], s.ID(), now))
	// Counted before the pong can come.
	r.Written(1, ping != nil)
	outcome := s.putBoth(o, b, ping, policy)
	if !outcome.Delivered() {
		r.Written(-1, ping != nil)
	} else if ping != nil {
		srv.stats.ReceiptPings.Add(1)
	}
	return outcome
}

// putBoth writes a message and its ping, if that is not nil.
func (s *Session) putBoth(o *options, b, ping []byte, policy netpoll.Policy) netpoll.Outcome {
	if ping == nil {
		return s.conn.WriteKeyed(b, policy, o.conflate)
	}
	if o.conflate != (netpoll.Key{}) { // queued by reference
		both := append(append(make([]byte, 0, len(b)+len(ping)), b...), ping...)
		return s.conn.WriteKeyed(both, policy, o.conflate)
	}
	buf := scratch.Get().(*[]byte)
	return s.putScratch(buf, append(append((*buf)[:0], b...), ping...), policy)
}

// receiptPong reports whether a pong confirms a receipt.
func (s *Session) receiptPong(payload []byte) bool {
	srv := s.srv()
	confirmed := srv.receipts.Pong(s.ID(), payload, srv.now())
	if confirmed {
		srv.stats.ReceiptPongs.Add(1)
	}
	return confirmed
}
