package keep

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"fanfare/server"
	"fanfare/server/internal/handover"
)

// Watch is what a keeper knows of one process of the server.
type Watch struct {
	wire  *handover.Conn
	marks server.Marks
	done  chan struct{} // closed when run has returned

	// Owned by run, and by the caller after done is closed.
	held      map[uint64]*held
	count     int // of the sessions that the server had
	counters  handover.Counters
	listeners []Listener
	files     []*os.File // of listeners
	leaving   bool
	err       error
}

// held is a session of the process.
type held struct {
	fd      int // a duplicate
	number  int // of the descriptor in the process
	version uint32
	stream  bool
	state   []byte
}

// NewWatch returns a Watch of a process that is to be started, and the files that Serve needs
// there: a socket and memory. The caller closes them.
func NewWatch() (w *Watch, socket, memory *os.File, err error) {
	if memory, err = newMemory(); err != nil {
		return nil, nil, nil, fmt.Errorf("keep: %w", err)
	}
	marks, err := mapMarks(memory)
	if err != nil {
		memory.Close()
		return nil, nil, nil, err
	}
	ours, socket, err := pair()
	if err != nil {
		memory.Close()
		return nil, nil, nil, fmt.Errorf("keep: %w", err)
	}
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		memory.Close()
		socket.Close()
		return nil, nil, nil, fmt.Errorf("keep: %w", err)
	}
	w = &Watch{wire: handover.New(c.(*net.UnixConn)), marks: marks, done: make(chan struct{}), held: make(map[uint64]*held)}
	go w.run()
	return w, socket, memory, nil
}

// run notes what the process tells until it has ended.
func (w *Watch) run() {
	defer close(w.done)
	for {
		m, err := w.wire.Read()
		if err == nil {
			err = w.note(&m)
			m.CloseFDs()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				w.err = err
			}
			w.wire.Close()
			w.wire.Drop()
			return
		}
	}
}

func (w *Watch) note(m *handover.Message) error {
	switch m.Kind {
	case handover.Kept:
		return w.noteSessions(m)
	case handover.Listeners:
		var all []Listener
		if err := m.Decode(&all); err != nil {
			return err
		}
		if len(all) != len(m.FDs) {
			return fmt.Errorf("keep: %d descriptors for %d listeners", len(m.FDs), len(all))
		}
		w.closeListeners()
		w.listeners = all
		for i, fd := range m.FDs {
			w.files = append(w.files, os.NewFile(uintptr(fd), all[i].Name))
		}
		m.FDs = nil
		return nil
	case handover.Leaving:
		w.leaving = true
		return nil
	}
	return fmt.Errorf("keep: unexpected %v", m.Kind)
}

func (w *Watch) noteSessions(m *handover.Message) error {
	var all sessions
	if err := m.Decode(&all); err != nil {
		return err
	}
	w.count, w.counters = all.Count, all.Counters
	for _, id := range all.Ended {
		w.drop(id)
	}
	for i := range all.Sessions {
		s := &all.Sessions[i]
		h := w.held[s.ID]
		switch {
		case s.New && len(m.FDs) == 0, !s.New && h == nil:
			return fmt.Errorf("keep: session %d came without a descriptor", s.ID)
		case s.New:
			w.drop(s.ID)
			h = &held{fd: m.FDs[0]}
			m.FDs = m.FDs[1:]
			w.held[s.ID] = h
		}
		h.number, h.version, h.stream = s.Number, s.Version, s.Stream
		h.state = append(h.state[:0:0], s.State...)
	}
	return nil
}

// drop forgets a session that has ended.
func (w *Watch) drop(id uint64) {
	if h := w.held[id]; h != nil {
		closeAll([]int{h.fd})
		delete(w.held, id)
	}
}

func (w *Watch) closeListeners() {
	for _, f := range w.files {
		f.Close()
	}
	w.files = nil
}

// Stop ends a Watch whose process was not started.
func (w *Watch) Stop() {
	w.wire.Close()
	<-w.done
}

// wait waits until all is read that a process has told which has ended.
func (w *Watch) wait() {
	select {
	case <-w.done:
	case <-time.After(waitTime): // a child of the process has its socket
		w.Stop()
	}
}

const waitTime = 10 * time.Second

// Leaving waits until the process has ended, and reports whether it has announced that.
func (w *Watch) Leaving() bool {
	<-w.done
	return w.leaving
}

// Listeners waits until the process has ended, and returns the listeners that it had. The files
// belong to the caller.
func (w *Watch) Listeners() ([]Listener, []*os.File) {
	<-w.done
	files := w.files
	w.files = nil
	return w.listeners, files
}
