package servers

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"fanfare/bench/floor"
	"fanfare/bench/peers"
)

// A Spec is a server that can be started.
type Spec struct {
	Name    string
	About   string
	Version string // of its library
	Debug   string // GODEBUG
	// Args returns the argument vector.
	Args func(a Addresses, ping time.Duration) []string
	// Pushes means that the server has users, topics and heartbeats.
	Pushes bool
	// Descriptors per connection; 0 means one.
	Descriptors int
	// TLS means that the server can be started with a certificate; then it serves TLS instead.
	TLS bool
	// Secure means that the server is started with a certificate in every scenario, beside servers without TLS.
	Secure bool
	// Proxy means that the server is several processes, one of which ends TLS. It only runs with a certificate.
	Proxy bool
	// Unordered means that pushes to a connection may be reordered.
	Unordered bool
	// Credentials returns the signer of the clients' tokens; nil: they need none.
	Credentials func() (Credentials, error)
	// Files returns the contents of the server's files by name; nil: it has none, and no directory for them.
	Files func(a Addresses, ping time.Duration, c Credentials) map[string]string
	// Product is set for a server with an interface of its own.
	Product *Product
	// Target is a server that already runs; then Args is nil.
	Target *Target
}

// Addresses are where a server listens.
type Addresses struct {
	Listen string // /echo and /ws
	API    string
	Cert   string // file names of a certificate and its key; empty: without TLS
	Key    string
	Dir    string // of the server's files; empty: it has none
}

// PingInterval is the default ping interval of all servers.
const PingInterval = 25 * time.Second

// pingTimeout returns the time limit for a pong: 10 s, more if pings are minutes apart (a client with hundreds of thousands
// of connections may be busy for longer), and at most the interval.
func pingTimeout(interval time.Duration) string {
	return min(interval, max(interval/5, 10*time.Second)).String()
}

// A Catalog finds Specs.
type Catalog struct {
	Fanfare string // path of the fanfare program
	Self    string // path of this program, which is also every peer

	// Programs of other push servers, see Build.
	Centrifugo, NATS, Mercure string
}

// Products lists fanfare as it is usually run, and other push servers, which are not libraries.
func (c Catalog) Products() []Spec {
	return []Spec{c.fanfareDefault(Version(c.Fanfare)), c.centrifugo(), c.nats(), c.mercure()}
}

// All lists the servers with the common interface: fanfare, the peers, the floor.
func (c Catalog) All() []Spec {
	var all []Spec
	version := Version(c.Fanfare)
	for _, transport := range []string{"epoll", "easygo", "goroutine"} {
		all = append(all, c.fanfare(transport, version))
	}
	for _, p := range peers.All() {
		all = append(all, Spec{
			Name:        p.Name,
			About:       p.About,
			Version:     peers.Version(p.Module),
			Args:        c.peer(p.Name),
			Pushes:      true,
			Descriptors: p.Descriptors,
			Unordered:   p.Unordered,
			TLS:         p.TLS,
		})
	}
	return append(all,
		Spec{Name: "floor1", About: "the floor: bare epoll, no checks, one loop", Debug: floor.Debug, Args: c.peer("floor1"), TLS: true},
		Spec{Name: "floor2", About: "the floor: bare epoll, no checks, two loops", Debug: floor.Debug, Args: c.peer("floor2")},
		Spec{
			Name: "fanfare-haproxy", About: "fanfare, with HAProxy in front of it, which ends TLS", Version: version,
			Args: func(a Addresses, ping time.Duration) []string {
				return append(c.peer("haproxy")(a, ping), "--fanfare", c.Fanfare)
			},
			Pushes: true, TLS: true, Proxy: true,
		})
}

func (c Catalog) peer(name string) func(a Addresses, ping time.Duration) []string {
	return func(a Addresses, ping time.Duration) []string {
		args := []string{c.Self, "serve-peer", name, "--listen", a.Listen, "--api", a.API,
			"--ping-interval", ping.String(), "--ping-timeout", pingTimeout(ping)}
		if a.Cert != "" {
			args = append(args, "--cert", a.Cert, "--key", a.Key)
		}
		return args
	}
}

func (c Catalog) fanfare(transport, version string) Spec {
	return Spec{
		Name:    "fanfare-" + transport,
		About:   "fanfare, --transport " + transport,
		Version: version,
		Args: func(a Addresses, ping time.Duration) []string {
			return append(c.serve(a, ping), "--transport", transport, "--data-dir", "none") // the other servers store nothing
		},
		Pushes: true,
		TLS:    true,
	}
}

// serve returns the arguments that every fanfare has.
func (c Catalog) serve(a Addresses, ping time.Duration) []string {
	args := []string{c.Fanfare, "serve", "--listen", a.Listen, "--api", a.API,
		"--ping-interval", ping.String(), "--ping-timeout", pingTimeout(ping), "--max-message", "1MiB", "--log-level", "warn"}
	if a.Cert != "" {
		args = append(args, "--tls-cert", a.Cert, "--tls-key", a.Key)
	}
	return args
}

// Find returns the servers with these names; "all" is every server of All.
func (c Catalog) Find(names []string) ([]Spec, error) {
	libraries := c.All()
	all := slices.Concat(libraries, c.Variants(), c.Products())
	var found []Spec
	for _, name := range names {
		if name == "all" {
			return libraries, nil
		}
		i := slices.IndexFunc(all, func(s Spec) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("servers: unknown server %q", name)
		}
		if strings.HasPrefix(name, "fanfare-") {
			if _, err := os.Stat(c.Fanfare); err != nil {
				return nil, fmt.Errorf("servers: the fanfare program: %w", err)
			}
		}
		found = append(found, all[i])
	}
	return found, nil
}
