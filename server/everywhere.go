package server

import "context"

// Coverage says whether the other nodes of a cluster took part.
type Coverage struct {
	// Missing is the number of nodes that were expected to answer and did not in
	// time.
	Missing int
	// Unreachable is why other nodes could not be asked; nil: they could.
	Unreachable error
}

// Complete reports whether every node has answered.
func (c Coverage) Complete() bool { return c.Missing == 0 && c.Unreachable == nil }

// everywhere does something on this node, and has the other nodes that hold the
// target do it at the same time. It returns the sum of the counts. An error says
// that nothing was done anywhere.
func (srv *Server) everywhere(ctx context.Context, t Target, c *Command, local func() int) (int, Answer, error) {
	cl := srv.cluster
	if cl == nil {
		return local(), Answer{}, nil
	}
	if err := cl.Check(c); err != nil {
		return 0, Answer{}, err
	}
	if !cl.Shared(t) {
		// Nodes that this one has not heard of yet get the command all the same;
		// none answers.
		answer := ask(ctx, cl, t, c)
		n := local()
		return n + answer.count(), answer, nil
	}
	there := make(chan Answer, 1)
	go func() { there <- ask(ctx, cl, t, c) }()
	n := local()
	answer := <-there
	return n + answer.count(), answer, nil
}

// ask is Cluster.Ask for a command that Check accepts.
func ask(ctx context.Context, cl Cluster, t Target, c *Command) Answer {
	answer, err := cl.Ask(ctx, t, c)
	answer.Unreachable = err
	return answer
}

// count is the number of sessions that the other nodes have reported.
func (a Answer) count() (n int) {
	for _, r := range a.Replies {
		n += r.Count
	}
	return n
}
