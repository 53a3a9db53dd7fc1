package presence

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server"
	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
	"fanfare/server/internal/presence"
	"fanfare/server/node"
)

// Subjects of messages between nodes: to all, and to one.
const (
	allSubject  = "fanfare.node.presence.all"
	nodeSubject = "fanfare.node.presence.to."
)

// Service reports who is online in a cluster. Open returns one.
type Service struct {
	// Immutable.
	cfg     Config
	log     *slog.Logger
	id      presence.ID
	start   time.Time
	nc      *nats.Conn
	traffic natsconn.Traffic
	inbox   chan *nats.Msg
	quit    chan struct{}
	ended   chan struct{}

	intake     intake
	answered   atomic.Int64 // when NATS has answered last, time since start
	term       atomic.Uint64
	members    atomic.Pointer[Members]               // nil: Serve was not called
	occupants  atomic.Pointer[node.OccupantObserver] // nil: ServeOccupants was not called
	synced     atomic.Uint64                         // reconnects, and 1, when all occupants were read; 0: they were not
	count      counters
	background sync.WaitGroup

	// Owned by the loop.
	node   *presence.Node
	worker *worker
	gone   int // Node.Gone, as occupants was told
}

var _ server.Observer = (*Service)(nil)

// Open connects to NATS, which may be away.
func Open(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: cfg.Logger, start: time.Now(), inbox: make(chan *nats.Msg, 64<<10),
		quit: make(chan struct{}), ended: make(chan struct{})}
	s.intake.kick = make(chan struct{}, 1)
	rand.Read(s.id[:])
	nc, err := natsconn.Connect(cfg.nats(&s.traffic), natsconn.Handlers{})
	if err != nil {
		return nil, field.Wrapf("presence: %w", err)
	}
	s.nc = nc
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(operation))
	for _, subject := range []string{allSubject, nodeSubject + s.id.String()} {
		if err == nil {
			_, err = nc.ChanSubscribe(subject, s.inbox)
		}
	}
	if err != nil {
		nc.Close()
		return nil, field.Wrapf("presence: %w", err)
	}
	s.node = presence.New(s.id, cfg.Grace)
	s.worker = newWorker(s, &journal{js: js, replicas: cfg.Replicas})
	s.background.Go(s.worker.run)
	s.background.Go(s.probe)
	go s.run()
	return s, nil
}

// Wants implements server.Observer.
func (s *Service) Wants(k server.EventKind) bool {
	switch k {
	case server.UserOnline, server.UserOffline, server.TopicOccupied, server.TopicVacated:
		if s.cfg.Reporter != nil {
			return true
		}
	case server.MemberJoined, server.MemberLeft:
		return s.cfg.Members
	}
	return s.cfg.Next != nil && s.cfg.Next.Wants(k)
}

// Observe implements server.Observer.
func (s *Service) Observe(e server.Event) {
	if it, ok := itemOf(&e); ok {
		s.intake.put(it)
	} else if s.cfg.Next != nil {
		s.cfg.Next.Observe(e)
	}
}

// Serve sets what announces the members of presence topics, which Config.Members says are
// observed. Until then this node does not lead.
func (s *Service) Serve(m Members) { s.members.Store(&m) }

// Leads reports whether this node reports the events of the cluster.
func (s *Service) Leads() bool { return s.term.Load() != 0 }

// probeEvery is how often NATS has to answer, and silence how long it may take until this
// node counts as disconnected: then its clock stops.
const (
	probeEvery = 250 * time.Millisecond
	silence    = time.Second
)

// probe asks NATS for answers.
func (s *Service) probe() {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-ticker.C:
		}
		begun := time.Since(s.start)
		if s.nc.FlushTimeout(silence) == nil {
			s.answered.Store(int64(begun))
		}
	}
}

func (s *Service) connected(since time.Duration) bool {
	at := s.answered.Load()
	return at > 0 && since-time.Duration(at) < silence && s.nc.IsConnected()
}

// run is the goroutine that owns the node.
func (s *Service) run() {
	defer close(s.ended)
	ticker := time.NewTicker(presence.TickEvery / s.cfg.speed)
	defer ticker.Stop()
	for {
		select {
		case <-s.quit:
			s.leave()
			return
		case <-s.intake.kick:
		case m := <-s.inbox:
			s.receive(m)
			for range len(s.inbox) { // before a tick judges who is silent
				s.receive(<-s.inbox)
			}
		case <-ticker.C:
			s.takeIn()
			since := time.Since(s.start)
			s.node.Tick(since*s.cfg.speed, time.Now(), s.connected(since))
		case r := <-s.worker.results:
			r(s.node)
		}
		s.takeIn()
		s.act()
		s.noteGone()
	}
}

// takeIn tells the node what the server has told this one. It precedes each message, so that
// an answer to a round includes it.
func (s *Service) takeIn() {
	for _, it := range s.intake.take() {
		s.node.Hold(it.Name, it.Held)
	}
}

func (s *Service) receive(m *nats.Msg) {
	s.takeIn()
	if len(m.Data) < len(s.id) {
		s.count.malformed.Add(1)
		return
	}
	var from presence.ID
	copy(from[:], m.Data)
	message, err := presence.Decode(m.Data[len(from):])
	if err != nil {
		s.count.malformed.Add(1)
		return
	}
	s.count.received.Add(1)
	s.node.Receive(from, &message)
}

// act does what the node wants to be done.
func (s *Service) act() {
	e := s.node.Take()
	for _, o := range e.Send {
		subject := allSubject
		if o.To != (presence.ID{}) {
			subject = nodeSubject + o.To.String()
		}
		if s.nc.Publish(subject, append(s.id[:], o.Encode()...)) == nil {
			s.count.sent.Add(1)
		}
	}
	term := s.node.Term()
	if before := s.term.Swap(term); before != term {
		if before != 0 {
			s.log.Info("presence: this node does not lead any more", "term", before)
		}
		s.worker.follow(term)
	}
	if e.Elect {
		s.worker.do(s.worker.elect)
	}
	if len(e.Write) > 0 {
		s.worker.do(func(ctx context.Context) { s.worker.write(ctx, term, e.Write) })
	}
}

// announce tells the others that this node leads, or will when it has read what was reported:
// so they do not try to.
func (s *Service) announce(term uint64) {
	m := presence.Message{Kind: presence.Lead, Term: term}
	s.nc.Publish(allSubject, append(s.id[:], m.Encode()...))
}

// leave tells the others that this node ends.
func (s *Service) leave() {
	s.takeIn()
	s.node.Leave()
	s.act()
	s.nc.FlushTimeout(time.Second)
}

// Close ends the service, after the server's Shutdown. What is not reported is reported by
// another node, or after the next start.
func (s *Service) Close() {
	close(s.quit)
	<-s.ended
	s.worker.end()
	s.background.Wait()
	s.nc.Close()
}

type counters struct{ sent, received, malformed, elections, reports atomic.Int64 }

// EachMetric calls f for each metric, as package api's Measured describes.
func (s *Service) EachMetric(f func(name, help, label, value string, n int64)) {
	leads := int64(0)
	if s.Leads() {
		leads = 1
	}
	f("presence_leads", "1 on the node that reports the presence of the cluster, else 0.", "", "", leads)
	f("presence_sent_total", "Messages about presence sent to other nodes.", "", "", s.count.sent.Load())
	f("presence_received_total", "Messages about presence received from other nodes.", "", "", s.count.received.Load())
	f("presence_malformed_total", "Messages about presence dropped because they are malformed.", "", "", s.count.malformed.Load())
	f("presence_elections_total", "Times that this node began to lead.", "", "", s.count.elections.Load())
	f("presence_reports_total", "Changes of presence that this node has reported.", "", "", s.count.reports.Load())
}
