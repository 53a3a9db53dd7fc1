package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanfare/server/internal/operate"
	"fanfare/server/internal/pace"
	"fanfare/server/node"
	"fanfare/server/where"
)

// This file has paced closes: sessions that are closed evenly over a time, so that their clients
// do not all connect again at once. They share the jobs of paced broadcasts.

// CloseOrder says which sessions are closed, how fast, and what their clients are told.
type CloseOrder struct {
	// One of Users (at most MaxCloseUsers), Topic (its subscribers), and All; or Node alone: all
	// sessions of a node.
	Users []string
	Topic string
	All   bool
	// Node, a name as in SessionInfo.Node, restricts them to sessions of one node.
	Node string
	// Where, unless nil, is what the labels of a session meet.
	Where *where.Expr
	// Over is the time from the first close to the last, MinPace to MaxPace, or Rate is the
	// number of sessions that each node closes in a second. One of the two is set.
	Over time.Duration
	Rate int
	// Code and Reason as for Session.Close.
	Code   Code
	Reason string
}

const (
	// MaxCloseUsers bounds CloseOrder.Users.
	MaxCloseUsers = operate.MaxUsers
	// MaxCloseRate bounds CloseOrder.Rate.
	MaxCloseRate = operate.MaxRate
)

// PacedClose describes a paced close.
type PacedClose = node.PacedClose

// ClosingDelivery is a paced close, and whether every node has answered.
type ClosingDelivery struct {
	PacedClose
	Coverage
}

// CloseList is a list of paced closes, and whether every node has answered.
type CloseList struct {
	Closes []PacedClose // in the order in which they were started
	Coverage
}

var (
	// ErrNoClose: no node has a paced close with this ID. Those that have ended are forgotten
	// after a while.
	ErrNoClose = errors.New("server: no such paced close")
	// ErrNoNode: no node has the name in CloseOrder.Node.
	ErrNoNode = errors.New("server: no node has this name")
)

// StartClose starts to close sessions, on all nodes, and returns before the first is closed. Each
// node spreads the closes of its own sessions evenly, in steps of 20 ms, in no particular order.
//
// Sessions that are open at the start are closed, each once; a session that opens later (to
// 100 ms) is not, so that a client that connects again is left alone. Drain ends paced closes where
// they are. Errors: ErrAudience, ErrPage, ErrManyPaced, ErrNoNode.
func (srv *Server) StartClose(ctx context.Context, o CloseOrder) (ClosingDelivery, error) {
	q := &operate.Question{Kind: operate.Close, ID: srv.newPacedID(), Over: int64(o.Over), Rate: o.Rate, Code: o.Code, Reason: o.Reason,
		Target: operate.Target{Users: o.Users, Topic: o.Topic, All: o.All, Node: o.Node}}
	if o.Where != nil {
		q.Where = o.Where.String()
	}
	d, err := srv.oneClose(ctx, q)
	if errors.Is(err, ErrNoClose) {
		err = ErrNoNode
	}
	return d, err
}

// ListCloses lists the paced closes that are under way, and the last that have ended.
func (srv *Server) ListCloses(ctx context.Context) (CloseList, error) {
	answers, c, err := srv.operateOnAllNodes(ctx, Target{}, &operate.Question{Kind: operate.Closes})
	return CloseList{operate.MergeCloses(answers), c}, err
}

// FindClose returns a paced close. The error is ErrNoClose.
func (srv *Server) FindClose(ctx context.Context, id string) (ClosingDelivery, error) {
	return srv.knownClose(ctx, &operate.Question{Kind: operate.Closes, ID: id})
}

// CancelClose ends a paced close: when it has returned, the nodes that have answered close no
// further session. For one that has ended it does nothing. The error is ErrNoClose.
func (srv *Server) CancelClose(ctx context.Context, id string) (ClosingDelivery, error) {
	return srv.knownClose(ctx, &operate.Question{Kind: operate.CancelClose, ID: id})
}

func (srv *Server) knownClose(ctx context.Context, q *operate.Question) (ClosingDelivery, error) {
	if node.CheckPacedID(q.ID) != nil { // no node has it
		return ClosingDelivery{}, ErrNoClose
	}
	return srv.oneClose(ctx, q)
}

// oneClose asks a question that is answered with one paced close.
func (srv *Server) oneClose(ctx context.Context, q *operate.Question) (ClosingDelivery, error) {
	answers, c, err := srv.operateOnAllNodes(ctx, Target{}, q)
	if err != nil {
		return ClosingDelivery{Coverage: c}, err
	}
	all := operate.MergeCloses(answers)
	if len(all) == 0 {
		return ClosingDelivery{Coverage: c}, ErrNoClose
	}
	return ClosingDelivery{all[0], c}, nil
}

// startCloseHere starts to close sessions of this process. It returns nothing on a node that is
// not named.
func (srv *Server) startCloseHere(q *operate.Question) ([]PacedClose, error) {
	srv.notePacedID(q.ID)
	if q.Node != "" && q.Node != srv.nodeName() {
		return nil, nil
	}
	w := &pacedWalk{srv: srv, topic: q.Topic, anonymous: true, born: srv.tick.Load()}
	if len(q.Users) > 0 {
		w.users = make(map[string]struct{}, len(q.Users))
		for _, user := range q.Users {
			w.users[user] = struct{}{}
		}
	}
	if q.Where != "" {
		expr, err := where.Parse(q.Where)
		if err != nil {
			return nil, err
		}
		w.sel = srv.selectionOf(&Audience{Where: expr})
	}
	w.do = func(s *Session) bool { return s.Close(q.Code, q.Reason) }
	of, over := w.receivers(), time.Duration(q.Over)
	if q.Rate > 0 {
		over = time.Duration(float64(of) / float64(q.Rate) * float64(time.Second))
	}
	j, err := srv.paced.Start(pace.Spec{ID: q.ID, Over: over, Of: of, Next: w.next, Info: &pacedInfo{started: srv.wall(), close: q}})
	switch {
	case errors.Is(err, pace.ErrFull):
		return nil, fmt.Errorf("%w: %d", ErrManyPaced, MaxPaced)
	case err != nil:
		return nil, fmt.Errorf("server: paced close: %w", err)
	}
	return []PacedClose{describeClose(j)}, nil
}

// closesHere answers the questions Closes and CancelClose.
func (srv *Server) closesHere(q *operate.Question) (list []PacedClose) {
	for _, j := range srv.paced.List() {
		if j.Info.(*pacedInfo).close == nil || q.ID != "" && q.ID != j.ID {
			continue
		}
		if q.Kind == operate.CancelClose {
			srv.paced.Cancel(j.ID)
		}
		list = append(list, describeClose(j))
	}
	return list
}

func describeClose(j *pace.Job) PacedClose {
	q := j.Info.(*pacedInfo).close
	c := PacedClose{PacedBroadcast: describePaced(j), Users: q.Users, All: q.All, Node: q.Node, Where: q.Where, Code: q.Code, Reason: q.Reason}
	c.Topic = q.Topic
	return c
}
