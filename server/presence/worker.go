package presence

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"fanfare/server"
	"fanfare/server/internal/presence"
	"fanfare/server/node"
)

// worker waits for JetStream and for the Reporter, so that the loop does not. It does one
// thing after another.
type worker struct {
	s       *Service
	journal *journal
	jobs    chan func(context.Context)
	results chan func(*presence.Node)
	ended   chan struct{}

	mu     sync.Mutex
	ctx    context.Context // of the term, canceled when this node does not lead any more; guarded by mu
	cancel context.CancelFunc

	leads   bool      // Reporter.Lead has succeeded; owned by run
	failure string    // of elect, as it was last logged; owned by run
	renewed time.Time // when the journal was written last; owned by run
}

// maxJobs is more than the loop gives before it waits for a result.
const maxJobs = 16

const (
	// markEvery is how often the journal says what was reported. A new leader reports what is
	// later again.
	markEvery = 250 * time.Millisecond
	// renewEvery is how often the leader writes to the journal in any case. A node that was
	// cut off so notices that it was replaced.
	renewEvery = 2 * time.Second
)

func newWorker(s *Service, j *journal) *worker {
	w := &worker{s: s, journal: j, jobs: make(chan func(context.Context), maxJobs), results: make(chan func(*presence.Node), maxJobs),
		ended: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// do has something done. Each job gives at most one result, for which the loop waits before
// it gives the next one of its kind, so that neither channel is full.
func (w *worker) do(job func(context.Context)) { w.jobs <- job }

// follow is called when this node begins or ceases to lead. It interrupts what the worker
// does for an earlier term.
func (w *worker) follow(term uint64) {
	if term != 0 {
		return
	}
	w.mu.Lock()
	w.cancel()
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.mu.Unlock()
	w.do(func(context.Context) { w.resign() })
}

func (w *worker) current() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ctx
}

func (w *worker) end() {
	w.mu.Lock()
	w.cancel()
	w.mu.Unlock()
	close(w.ended)
}

func (w *worker) run() {
	ticker := time.NewTicker(markEvery)
	defer ticker.Stop()
	defer w.resign()
	for {
		select {
		case <-w.ended:
			return
		case job := <-w.jobs:
			job(w.current())
		case <-ticker.C:
			w.mark()
		}
	}
}

func (w *worker) result(f func(*presence.Node)) {
	select {
	case w.results <- f:
	case <-w.ended:
	}
}

func (w *worker) elect(ctx context.Context) {
	term, present, open, err := w.journal.elect(ctx, w.s.cfg.Name, w.s.announce)
	if err == nil && (w.s.cfg.Members && w.s.members.Load() == nil || w.s.cfg.Occupants && w.s.occupants.Load() == nil) {
		err = errNotServed
	}
	if r := w.s.cfg.Reporter; err == nil && !w.leads {
		if r != nil {
			err = r.Lead(ctx)
		}
		w.leads = err == nil
	}
	if err == nil {
		w.lead(announced(present, open))
	}
	if err == nil {
		err = w.report(ctx, open)
	}
	if err != nil {
		if text := err.Error(); text != w.failure { // which may recur twice a second
			w.failure = text
			w.s.log.Warn("presence: this node cannot lead; retrying", "err", err)
		}
		w.resign()
		w.result(func(n *presence.Node) { n.Rejected() })
		return
	}
	w.failure = ""
	w.s.log.Info("presence: this node leads", "term", term, "present", len(present), "reported_again", len(open))
	w.s.count.elections.Add(1)
	w.result(func(n *presence.Node) { n.Elected(term, present) })
}

func (w *worker) write(ctx context.Context, term uint64, changes []presence.Change) {
	records, err := w.journal.write(ctx, changes)
	if err == nil {
		err = w.report(ctx, records)
	}
	if err != nil && ctx.Err() == nil {
		w.s.log.Warn("presence: changes cannot be reported; a node is elected", "changes", len(changes), "err", err)
	}
	if err != nil {
		w.resign()
	}
	w.result(func(n *presence.Node) { n.Written(term, err == nil) })
}

var errNotServed = errors.New("the server has not started")

// announced returns the names that were announced: those that are present, except for open
// changes, which follow.
func announced(present []presence.Name, open []record) (all []presence.Name) {
	undecided := make(map[presence.Name]bool, len(open))
	for i := range open {
		undecided[open[i].Name] = true
		if !open[i].Present {
			all = append(all, open[i].Name)
		}
	}
	for _, name := range present {
		if !undecided[name] {
			all = append(all, name)
		}
	}
	return all
}

// lead gives what was announced to Members, and to the observer of occupants.
func (w *worker) lead(names []presence.Name) {
	var members []server.MemberChange
	var occupants []node.Occupant
	for _, name := range names {
		if m, ok := memberOf(name, true); ok {
			members = append(members, m)
		} else if o, ok := occupantOf(name); ok {
			occupants = append(occupants, o)
		}
	}
	if m := w.s.members.Load(); m != nil {
		(*m).LeadMembers(members)
	}
	if to := w.s.occupants.Load(); to != nil {
		(*to).LeadOccupants(occupants)
	}
}

// report gives records to the Reporter, to Members and to the observer of occupants.
func (w *worker) report(ctx context.Context, records []record) error {
	if len(records) == 0 {
		return nil
	}
	now := time.Now()
	var events []server.Event
	var ids []string
	var members []server.MemberChange
	var occupants []node.OccupantChange
	for i := range records {
		c := &records[i].Change
		if isOccupant(c.Name) {
			if o, ok := occupantOf(c.Name); ok {
				occupants = append(occupants, node.OccupantChange{Occupant: o, Present: c.Present})
			}
			continue
		}
		if m, ok := memberOf(c.Name, c.Present); ok {
			members = append(members, m)
			continue
		}
		e := eventOf(c)
		e.Time = now
		events, ids = append(events, e), append(ids, w.journal.id+"-"+strconv.FormatUint(records[i].sequence, 10))
	}
	if r := w.s.cfg.Reporter; r != nil && len(events) > 0 { // else the nodes had one before
		if err := r.Report(ctx, events, ids); err != nil {
			return err
		}
	}
	if m := w.s.members.Load(); m != nil && len(members) > 0 {
		(*m).ChangeMembers(members)
	}
	if to := w.s.occupants.Load(); to != nil && len(occupants) > 0 {
		(*to).ReportOccupants(occupants)
	}
	w.journal.reported = records[len(records)-1].sequence
	w.s.count.reports.Add(int64(len(records)))
	return nil
}

// mark writes what was reported to the journal.
func (w *worker) mark() {
	if j := w.journal; w.leads && w.s.Leads() && (j.reported != j.marked || time.Since(w.renewed) > renewEvery) {
		w.renewed = time.Now()
		ctx, cancel := context.WithTimeout(w.current(), operation)
		defer cancel()
		if err := j.mark(ctx, w.s.cfg.Name); err != nil {
			w.s.log.Warn("presence: the journal cannot be written; a node is elected", "err", err)
			w.resign()
			term := w.s.term.Load()
			w.result(func(n *presence.Node) { n.Written(term, false) })
		}
	}
}

func (w *worker) resign() {
	if w.leads {
		w.leads = false
		if r := w.s.cfg.Reporter; r != nil {
			r.Resign()
		}
		if m := w.s.members.Load(); m != nil {
			(*m).ResignMembers()
		}
	}
}
