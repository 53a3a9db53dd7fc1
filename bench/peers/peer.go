package peers

import (
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"time"
)

// Options configure a peer.
type Options struct {
	Listen   string        // address of /echo and /ws
	API      string        // address of the HTTP API
	Ping     time.Duration // ping interval
	PongWait time.Duration // time limit for a pong
	Cert     string        // file name of a certificate, for peers with TLS; empty: without TLS
	Key      string        // file name of its key
}

// idleLimit returns how long a connection may be silent: a new one may wait for two rounds of pings.
func (o Options) idleLimit() time.Duration { return 2*o.Ping + o.PongWait }

// writeLimit is how long a write may block before the connection is closed.
const writeLimit = 10 * time.Second

// maxMessage is the longest message that a peer accepts.
const maxMessage = 1 << 20

// A Peer is a server to compare with.
type Peer struct {
	Name        string
	About       string
	Module      string // of the library; the report names its version
	Descriptors int    // per connection; 0 means one
	TLS         bool   // can serve TLS
	Unordered   bool   // pushes to a connection may be reordered
	Serve       func(Options) error
}

// All lists the peers.
func All() []Peer {
	return []Peer{gorillaClassic, gorilla, gobwas, easygo, coder, gwsPeer, nbioPeer}
}

// Find returns the peer with this name.
func Find(name string) (Peer, error) {
	all := All()
	i := slices.IndexFunc(all, func(p Peer) bool { return p.Name == name })
	if i < 0 {
		return Peer{}, fmt.Errorf("peers: no peer is called %q", name)
	}
	return all[i], nil
}

// Version returns the version of a module in this program.
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

// A route is a parsed request target of a handshake.
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
