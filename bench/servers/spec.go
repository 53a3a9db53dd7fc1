package servers

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"fanfare/bench/floor"
)

// A Spec is a server that can be started.
type Spec struct {
	Name  string
	About string
	Env   []string
	// Args makes the argument vector from the two addresses.
	Args func(listen, api string) []string
	// Pushes says that the server knows users and topics.
	Pushes bool
	// Heartbeat makes the arguments that set the ping interval; nil where the server has no heartbeat.
	Heartbeat func(seconds int) []string
}

// A Catalog is where Specs are looked up.
type Catalog struct {
	Fanfare string // path of the fanfare program; empty leaves its transports out
	Self    string // path of this program, which is also every peer
}

// All lists every server, the ones to beat last.
func (c Catalog) All() []Spec {
	var all []Spec
	for _, transport := range []string{"epoll", "easygo", "goroutine"} {
		all = append(all, c.fanfare(transport))
	}
	for loops, about := range map[int]string{1: "bare epoll, no checks, one loop", 2: "bare epoll, no checks, two loops"} {
		all = append(all, Spec{
			Name:  fmt.Sprintf("floor%d", loops),
			About: about,
			Env:   floor.Env,
			Args: func(listen, api string) []string {
				return []string{c.Self, "serve-peer", fmt.Sprintf("floor%d", loops), "--listen", listen, "--api", api}
			},
		})
	}
	slices.SortStableFunc(all[3:], func(a, b Spec) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (c Catalog) fanfare(transport string) Spec {
	return Spec{
		Name:  "fanfare-" + transport,
		About: "fanfare, --transport " + transport,
		Args: func(listen, api string) []string {
			return []string{c.Fanfare, "serve", "--listen", listen, "--api", api, "--transport", transport,
				"--ping-interval", "25s", "--ping-timeout", "10s", "--log-level", "warn"}
		},
		Pushes: true,
	}
}

// Find looks names up; "all" is every server.
func (c Catalog) Find(names []string) ([]Spec, error) {
	all := c.All()
	var found []Spec
	for _, name := range names {
		if name == "all" {
			return all, nil
		}
		i := slices.IndexFunc(all, func(s Spec) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("servers: no server is called %q", name)
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
