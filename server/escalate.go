package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanfare/server/store"
)

// Escalation is a message in a user's inbox that an Escalator is to report if the user has not
// acknowledged it when it is due.
type Escalation struct {
	User   string
	ID     string // Entry.ID
	Epoch  string
	Offset uint64
	Due    time.Time
}

// Escalator reports messages that were not acknowledged in time: package webhook has one. It
// is called concurrently.
type Escalator interface {
	// CheckEscalation returns why a message cannot be escalated after a time: an error that
	// wraps ErrEscalation or ErrNoEscalator. It does not wait.
	CheckEscalation(after time.Duration) error
	// Escalate returns when the escalation is stored. A second one for the same message may
	// be stored, but is reported with the same identifier. The error is store.ErrFull if
	// its bound is reached.
	Escalate(ctx context.Context, e Escalation) error
}

// MinEscalation is the least Entry.Escalate.
const MinEscalation = time.Second

var (
	// ErrEscalation: Entry.Escalate is out of range, or the message is for a topic.
	ErrEscalation = errors.New("server: bad escalation")
	// ErrNoEscalator: Config.Escalator is nil, or has nothing to report to.
	ErrNoEscalator = errors.New("server: unread messages are not reported")
)

// checkEscalation checks Entry.Escalate.
func (srv *Server) checkEscalation(box store.Box, e *Entry) error {
	switch {
	case e.Escalate == 0:
		return nil
	case box.User == "":
		return fmt.Errorf("%w: a message to a topic has no user who acknowledges it; want a message to a user", ErrEscalation)
	case srv.cfg.Escalator == nil:
		return ErrNoEscalator
	case e.Escalate < MinEscalation:
		return fmt.Errorf("%w: the time is %v, want at least %v", ErrEscalation, e.Escalate, MinEscalation)
	case e.TTL > 0 && e.Escalate > e.TTL:
		return fmt.Errorf("%w: the time is %v, and the message expires after %v; want a shorter time", ErrEscalation, e.Escalate, e.TTL)
	}
	return srv.cfg.Escalator.CheckEscalation(e.Escalate)
}

// escalate stores the escalation of a message that is stored.
func (p *Pending) escalate(ctx context.Context, st Stored) error {
	if p.due.IsZero() {
		return nil
	}
	err := p.srv.cfg.Escalator.Escalate(ctx, Escalation{User: p.box.User, ID: p.id, Epoch: st.Epoch, Offset: st.Offset, Due: p.due})
	if err != nil {
		return fmt.Errorf("the message is stored, and its escalation is not; repeat it with the same id: %w", err)
	}
	return nil
}
