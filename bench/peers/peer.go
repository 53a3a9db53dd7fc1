package peers

import (
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"time"
)

// Options are what every peer is started with.
type Options struct {
	Listen   string        // address of /echo and /ws
	API      string        // address of the HTTP API
	Ping     time.Duration // how often a connection is pinged
	PongWait time.Duration // how long it may take to answer
}

// idleLimit is how long a connection may stay silent: a new one may have to wait for two rounds of pings.
func (o Options) idleLimit() time.Duration { return 2*o.Ping + o.PongWait }

// writeLimit is how long a write may block before the connection is given up.
const writeLimit = 10 * time.Second

// maxMessage is the longest message that a peer takes.
const maxMessage = 1 << 20

// A Peer is a server to compare with.
type Peer struct {
	Name        string
	About       string
	Module      string // whose version the report names
	Descriptors int    // per connection; 0 means one
	Unordered   bool   // pushes to a connection may overtake one another
	Serve       func(Options) error
}

// All lists the peers.
func All() []Peer {
	return []Peer{gorillaClassic, gorilla, gobwas, easygo, coder, gwsPeer, nbioPeer}
}

// Find looks a peer up.
func Find(name string) (Peer, error) {
	all := All()
	i := slices.IndexFunc(all, func(p Peer) bool { return p.Name == name })
	if i < 0 {
		return Peer{}, fmt.Errorf("peers: no peer is called %q", name)
	}
	return all[i], nil
}

// Version is the version of the module that this program was built with.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return ""
}

// A route is what the request target of a handshake says.
type route struct {
	echo   bool
	user   string
	topics []string
}

func routeOf(u *url.URL) route {
	if u.Path == "/echo" {
		return route{echo: true}
	}
	q := u.Query()
	return route{user: q.Get("user"), topics: q["topic"]}
}
