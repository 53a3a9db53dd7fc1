package replay

import (
	"slices"
	"strings"
	"time"

	"fanfare/server/store"
)

// stream is the delivery of one box to one session. All fields are guarded by the
// session's mu, but for those of the first group.
//
// Offsets belong to the epoch of the stream: sent, want, rest and acked mean
// nothing in another one. Only apply changes the epoch.
type stream struct {
	// Immutable once a worker may run.
	box      store.Box
	start    Start
	since    time.Time // when the session opened, or subscribed to the topic
	remember bool
	exempt   bool

	ended bool // unsubscribed
	full  bool // locate must find the acknowledged position, too

	placed bool // sent is known, and epoch is that of sent
	begun  bool // Begin was called
	hinted bool // Begin was called with Unknown
	check  bool // ask the store for its epoch and last offset
	gap    bool // messages before the next one are missing
	known  bool // a position of the user is stored, or was counted by quota
	// overQuota: quota does not allow the user a position here.
	overQuota bool
	pinned    bool // a position is stored, so that a later session resumes there
	solo      bool // the next message failed once, and goes alone
	// continued: the offsets of the last of past continue in epoch.
	continued bool
	tries     uint8
	bound     bound

	epoch  string   // before placed: that of want
	past   []string // earlier epochs that the client may still name, the latest last
	from   uint64   // where it began, or what bound says of that
	sent   uint64   // everything up to here was written, or skipped
	want   uint64   // this offset is known to be stored
	pinged uint64   // everything up to here is covered by a ping
	rest   []uint64
	need   int // what the next message takes of the queue, if that is known

	acked    uint64 // what the client has acknowledged
	reported uint64 // what of that was given to the store
}

func newTopicStream(sub Subscription, now time.Time) *stream {
	return &stream{
		box:      store.Box{Topic: strings.Clone(sub.Topic)},
		start:    sub.Start.clone(),
		since:    now,
		remember: sub.Remember,
		exempt:   sub.Exempt,
	}
}

// clone copies what the caller may reuse.
func (s Start) clone() Start {
	s.Epoch = strings.Clone(s.Epoch)
	return s
}

func (st *stream) expect(offset uint64) { st.want = max(st.want, offset) }

// bound says what is known of the start of a stream.
type bound uint8

const (
	unbounded bound = iota // nothing, from is 0
	atMost                 // it is at most from: the session counts as a receiver of later messages
	chosen                 // it is from, or earlier if it has to be found anew
	inherited              // the stream goes on where an earlier session ended, which began at from
)

// counts reports whether the session counts as a receiver of a message. A message that
// precedes the start was stored before the session opened or subscribed, and its notice is
// late; a client that resumes has it. Before the start is chosen every message counts,
// whichever epoch it belongs to: too early a start only delivers more.
func (st *stream) counts(offset uint64) bool {
	if st.bound < chosen {
		st.startBefore(offset)
	}
	return offset > st.from || st.start.Resume && st.bound != inherited
}

func (st *stream) startBefore(offset uint64) {
	if st.bound == unbounded || offset <= st.from {
		st.bound, st.from = atMost, offset-1
	}
}

// pending reports whether there is something to read.
func (st *stream) pending() bool { return st.placed && (len(st.rest) > 0 || st.want > st.sent) }

// continuesIn reports whether an offset of an epoch is one of this stream.
func (st *stream) continuesIn(epoch string) bool {
	return st.placed && (epoch == st.epoch || st.continued && epoch == st.past[len(st.past)-1])
}

// mostPast bounds stream.past.
const mostPast = 8

// leaveEpoch notes that the client knows offsets of an epoch that has ended.
func (st *stream) leaveEpoch(epoch string, continued bool) {
	if len(st.past) == mostPast {
		st.past = slices.Delete(st.past, 0, 1)
	}
	st.past, st.continued = append(st.past, epoch), continued
}

// place sets where the stream begins.
func (st *stream) place(p place) {
	if st.epoch != p.epoch && st.epoch != "" {
		st.want = 0 // it belonged to another history
	}
	st.placed, st.epoch = true, p.epoch
	if e := st.start.Epoch; e != "" && e != p.epoch {
		st.leaveEpoch(e, false) // the client may acknowledge what it got before it resumed
	}
	if st.bound != inherited {
		st.bound, st.from = chosen, p.after
	}
	st.sent, st.pinged, st.gap = p.after, p.after, p.gap
	st.acked, st.reported, st.pinned, st.known = p.acked, p.acked, p.pinned, p.known
	st.expect(p.last)
}

// moveTo changes the epoch. The offsets up to sent stay valid if it continues; otherwise the
// stream begins anew.
// Later offsets of the earlier epoch may denote other messages in any case.
func (st *stream) moveTo(epoch string, continues bool) {
	st.rest, st.tries, st.need, st.solo = nil, 0, 0, false
	st.leaveEpoch(st.epoch, continues)
	if st.epoch = epoch; continues {
		st.want = st.sent
		return
	}
	st.gap = true
	st.from, st.sent, st.want, st.pinged, st.acked, st.reported = 0, 0, 0, 0, 0, 0
	st.pinned = st.box.User != ""
}
