package keep

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/server"
	"fanfare/server/internal/handover"
	"fanfare/server/listen"
)

// Pauses between two looks at sessions that are not at rest, or change all the time. They grow
// while no session is described: a message may stay incomplete for long.
const (
	shortPause = 10 * time.Millisecond
	longPause  = 320 * time.Millisecond
)

// Descriptors is how many descriptors a server with a keeper, and the keeper, need at a time
// besides those of sessions; see server.Config.OtherDescriptors.
const Descriptors = handover.MaxDescriptors

// Link is the connection of a server to its keeper.
type Link struct {
	wire    *handover.Conn
	keeping *server.Keeping
	srv     *server.Server
	log     *slog.Logger
}

// Serve has a server describe its sessions to the keeper at the other end of conn, until ctx is
// done or the keeper has ended. memory is that of the keeper. It is called before
// Server.TakeOver and Server.Start.
func Serve(ctx context.Context, srv *server.Server, conn *net.UnixConn, memory *os.File, log *slog.Logger) (*Link, error) {
	defer memory.Close()
	marks, err := mapMarks(memory)
	if err != nil {
		conn.Close()
		return nil, err
	}
	l := &Link{handover.New(conn), srv.Keep(marks), srv, log}
	go l.run(ctx)
	return l, nil
}

func (l *Link) run(ctx context.Context) {
	defer l.keeping.End()
	defer l.wire.Close()
	pause := shortPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.keeping.Wake():
		}
		n, err := l.describe()
		if err != nil {
			l.log.Error("the keeper has ended: sessions do not survive the death of this process any more", "err", err)
			return
		}
		if pause = min(2*pause, longPause); n > 0 {
			pause = shortPause
		}
		time.Sleep(pause)
	}
}

// describe sends what is new, and returns how much that was. After an error nothing is sent any more.
func (l *Link) describe() (n int, err error) {
	kept, ended := l.keeping.Take(handover.MaxDescriptors)
	if len(kept)+len(ended) == 0 {
		return 0, nil
	}
	m := sessions{Ended: ended, Count: l.srv.Count(), Counters: l.keeping.Counters()}
	var fds []int
	defer func() { closeAll(fds) }()
	described := kept[:0]
	for _, k := range kept {
		text, err := json.Marshal(k.State)
		if err != nil { // it has a name that is not UTF-8; it stays listed, so that this is not repeated
			l.log.Error("session is not kept", "err", err, "user", k.State.User)
			if k.File >= 0 {
				closeAll([]int{k.File})
			}
			continue
		}
		if k.File >= 0 {
			fds = append(fds, k.File)
		}
		described = append(described, k)
		m.Sessions = append(m.Sessions, session{
			ID: k.State.Conn.ID, Version: k.Version, Number: k.Number, New: k.File >= 0, Stream: k.Stream, State: text,
		})
	}
	if err := l.wire.Write(handover.Kept, &m, fds...); err != nil {
		return 0, err
	}
	l.keeping.Sent(described)
	l.log.Debug("described sessions to the keeper", "sessions", len(m.Sessions), "new", len(fds), "ended", len(ended))
	return len(described) + len(ended), nil
}

// Listeners tells the keeper which listeners the server has. Their files stay the caller's.
func (l *Link) Listeners(all []Listener, files []*os.File) error {
	var fds []int
	for _, f := range files {
		fd, err := listen.Descriptor(f)
		if err != nil {
			return fmt.Errorf("keep: listener: %w", err)
		}
		fds = append(fds, fd)
	}
	return l.wire.Write(handover.Listeners, all, fds...)
}

// Leaving tells the keeper that the process ends by itself, and is not to be started again.
func (l *Link) Leaving() error { return l.wire.Write(handover.Leaving, nil) }
