package guard

import (
	"context"

	"fanfare/server/node"
)

// cluster is a Cluster whose panics are recovered. Most calls are made by read turns and by
// goroutines that nothing else would protect.
type cluster struct {
	node.Cluster
	*recovery
}

// Cluster returns cl with recovered panics: to its callers they look like other nodes that
// cannot be reached. panicked is called with the method and the value of each panic.
func Cluster(cl node.Cluster, panicked func(where string, v any)) node.Cluster {
	return cluster{cl, &recovery{"Cluster", node.ErrUnreachable, panicked}}
}

func (g cluster) Join(n node.Node) (err error) {
	defer g.recovered("Join", &err)
	return g.Cluster.Join(n)
}

func (g cluster) Hold(t node.Target) {
	defer g.recovered("Hold", nil)
	g.Cluster.Hold(t)
}

func (g cluster) Release(t node.Target) {
	defer g.recovered("Release", nil)
	g.Cluster.Release(t)
}

func (g cluster) Sync(ctx context.Context, t node.Target) (err error) {
	defer g.recovered("Sync", &err)
	return g.Cluster.Sync(ctx, t)
}

func (g cluster) Check(c *node.Command) (err error) {
	defer g.recovered("Check", &err)
	return g.Cluster.Check(c)
}

func (g cluster) Ask(ctx context.Context, t node.Target, c *node.Command) (a node.Answer, err error) {
	defer g.recovered("Ask", &err)
	return g.Cluster.Ask(ctx, t, c)
}

func (g cluster) Shared(t node.Target) (shared bool) {
	shared = true
	defer g.recovered("Shared", nil)
	return g.Cluster.Shared(t)
}

func (g cluster) Name() (name string) {
	defer g.recovered("Name", nil)
	return g.Cluster.Name()
}

func (g cluster) Nodes() (n int) {
	n = 1
	defer g.recovered("Nodes", nil)
	return g.Cluster.Nodes()
}

func (g cluster) Ready() (err error) {
	defer g.recovered("Ready", &err)
	return g.Cluster.Ready()
}

func (g cluster) Leave() {
	defer g.recovered("Leave", nil)
	g.Cluster.Leave()
}
