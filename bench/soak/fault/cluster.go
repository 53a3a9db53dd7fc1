package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Ports are the same for all processes: each has its own address.
const (
	natsPort    = 4222
	routePort   = 6222
	monitorPort = 8222
	listenPort  = 8080
	apiPort     = 8081
)

// cluster is a set of NATS servers and nodes of fanfare, and the network between
// them.
type cluster struct {
	dir   string
	net   network
	nats  []*process
	nodes []*node
}

// shape of a cluster.
type shape struct {
	programs Programs
	nats     int
	nodes    int
	args     []string                                // further flags of the nodes
	settings string                                  // further settings of NATS
	direct   bool                                    // no link will be cut
	disk     func(dir string, i int) (string, error) // returns the directory of a NATS server's files; nil: in the cluster's directory
}

// newCluster starts a cluster and waits until it is ready.
func newCluster(ctx context.Context, dir string, s shape) (_ *cluster, err error) {
	c := &cluster{dir: dir}
	if s.direct {
		c.net = newDirect()
	} else if c.net, err = newNetwork(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if err := c.addNATS(s); err != nil {
		return nil, err
	}
	for _, p := range c.nats {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	for _, p := range c.nats {
		if err := until(ctx, 20*time.Second, func(ctx context.Context) error { return c.natsReady(ctx, p) }); err != nil {
			return nil, fmt.Errorf("fault: %s is not ready: %w\n%s", p.name, err, p.tail())
		}
	}
	for i := range s.nodes {
		at, err := c.net.add(fmt.Sprintf("node%d", i+1))
		if err != nil {
			return nil, err
		}
		n, err := c.addNode(at, s)
		if err != nil {
			return nil, err
		}
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	for _, n := range c.nodes {
		if err := n.ready(ctx, 30*time.Second); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *cluster) addNATS(s shape) error {
	places := make([]*place, s.nats)
	var err error
	for i := range places {
		if places[i], err = c.net.add(fmt.Sprintf("nats%d", i+1)); err != nil {
			return err
		}
	}
	for i, at := range places {
		store := filepath.Join(c.dir, at.name)
		if s.disk != nil {
			if store, err = s.disk(store, i); err != nil {
				return err
			}
		}
		var routes []string
		for _, to := range places {
			if to == at {
				continue
			}
			route, err := c.net.via(at, to, routePort)
			if err != nil {
				return err
			}
			routes = append(routes, "nats://"+route)
		}
		config := filepath.Join(c.dir, at.name+".conf")
		// Intervals are short, so that a cut is detected within the test. Addresses
		// are not advertised, because they would bypass a proxy.
		text := fmt.Sprintf(`
server_name: %[1]s
listen: "%[2]s:%[3]d"
http: "%[2]s:%[4]d"
ping_interval: "1s"
ping_max: 2
write_deadline: "2s"
jetstream { store_dir: %[5]q, max_file: 64G }
`, at.name, at.ip, natsPort, monitorPort, store)
		if s.nats > 1 {
			text += fmt.Sprintf(`cluster { name: fault, listen: "%s:%d", no_advertise: true, ping_interval: "1s", ping_max: 2, routes: ["%s"] }
`, at.ip, routePort, strings.Join(routes, `", "`))
		}
		if err := os.WriteFile(config, []byte(text+s.settings), 0o600); err != nil {
			return fmt.Errorf("fault: %w", err)
		}
		c.nats = append(c.nats, newProcess(c.dir, at, s.programs.NATS, "-c", config))
	}
	return nil
}

// natsReady asks the monitoring port whether JetStream has a leader and all streams
// are current.
func (c *cluster) natsReady(ctx context.Context, p *process) error {
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s:%d/healthz", p.at.ip, monitorPort), nil)
	if err != nil {
		return err
	}
	answer, err := web.Do(req)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("fault: %s: %s", p.name, answer.Status)
	}
	return nil
}

// addNode adds a node of fanfare that is not started yet.
func (c *cluster) addNode(at *place, s shape) (*node, error) {
	var urls []string
	for _, p := range c.nats {
		url, err := c.net.via(at, p.at, natsPort)
		if err != nil {
			return nil, err
		}
		urls = append(urls, "nats://"+url)
	}
	args := s.args
	if len(urls) > 0 {
		args = append([]string{"--nats", strings.Join(urls, ","), "--nats-replicas", fmt.Sprint(len(urls))}, args...)
	}
	n, err := newNode(c.dir, c.net, at, s.programs.Fanfare, args...)
	if err == nil {
		c.nodes = append(c.nodes, n)
	}
	return n, err
}

// restore heals all links, starts all processes that do not run, and waits until
// they are ready.
func (c *cluster) restore(ctx context.Context, limit time.Duration) error {
	var all []*place
	for _, p := range c.nats {
		all = append(all, p.at)
	}
	for _, n := range c.nodes {
		all = append(all, n.at)
	}
	for i, a := range all {
		c.net.heal(a, c.net.home())
		for _, b := range all[i+1:] {
			c.net.heal(a, b)
		}
	}
	for _, p := range c.nats {
		if !p.running() {
			if err := p.start(); err != nil {
				return err
			}
		}
	}
	for _, p := range c.nats {
		if err := until(ctx, limit, func(ctx context.Context) error { return c.natsReady(ctx, p) }); err != nil {
			return fmt.Errorf("fault: %s did not become healthy again: %w\n%s", p.name, err, p.tail())
		}
	}
	for _, n := range c.nodes {
		if err := n.ready(ctx, limit); err != nil {
			return err
		}
	}
	return nil
}

// alarms returns the log lines that no process may print.
func (c *cluster) alarms() (lines []string) {
	for _, n := range c.nodes {
		lines = append(lines, n.alarms()...)
	}
	for _, p := range c.nats {
		lines = append(lines, p.alarms()...)
	}
	return lines
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		n.signal(contSignal)
		n.kill()
	}
	for _, p := range c.nats {
		p.signal(contSignal)
		p.kill()
	}
	c.net.close()
	web.CloseIdleConnections()
}
