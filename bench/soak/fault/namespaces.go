package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// namespaces are network namespaces whose veth links meet in a bridge. Blackhole
// routes cut a link: connections stay open and silent.
type namespaces struct {
	id   string // also the name of the bridge
	base string // the first three bytes of all addresses
	here *place

	mu  sync.Mutex
	all []*place
}

func newNamespaces(ctx context.Context, id, base string) (*namespaces, error) {
	sweep()
	n := &namespaces{id: id, base: base, here: &place{name: "home", ip: base + ".1"}}
	err := errors.Join(
		ip(ctx, "link", "add", id, "type", "bridge"),
		ip(ctx, "addr", "add", n.here.ip+"/24", "dev", id),
		ip(ctx, "link", "set", id, "up"))
	if err == nil {
		// Check now whether a namespace can be created.
		if err = ip(ctx, "netns", "add", id+"-try"); err == nil {
			err = ip(ctx, "netns", "del", id+"-try")
		}
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *namespaces) what() string { return "network namespaces" }

func (n *namespaces) home() *place { return n.here }

func (n *namespaces) add(name string) (*place, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number := strconv.Itoa(len(n.all) + 2)
	space := n.id + "-" + number
	p := &place{name: name, ip: n.base + "." + number, prefix: []string{"ip", "netns", "exec", space}}
	n.all = append(n.all, p)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	link := n.link(len(n.all) + 1)
	for _, args := range [][]string{
		{"netns", "add", space},
		{"link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space},
		{"link", "set", link, "master", n.id, "up"},
		{"-n", space, "addr", "add", p.ip + "/24", "dev", "eth0"},
		{"-n", space, "link", "set", "eth0", "up"},
		{"-n", space, "link", "set", "lo", "up"},
	} {
		if err := ip(ctx, args...); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// link returns the name of one end of a place's link, of at most 15 bytes.
func (n *namespaces) link(number int) string { return fmt.Sprintf("%s.%d", n.id, number) }

func (n *namespaces) via(_, to *place, port int) (string, error) {
	return fmt.Sprintf("%s:%d", to.ip, port), nil
}

func (n *namespaces) cut(from, to *place, oneWay bool) error {
	err := n.route("replace", from, to)
	if !oneWay {
		err = errors.Join(err, n.route("replace", to, from))
	}
	return err
}

func (n *namespaces) heal(from, to *place) error {
	// One of the routes may not exist.
	n.route("del", from, to)
	n.route("del", to, from)
	return nil
}

// route adds or removes a blackhole route to to in from's namespace. Home has no
// such routes: it is enough that the other end is silent.
func (n *namespaces) route(verb string, from, to *place) error {
	if from == n.here {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return ip(ctx, "-n", from.prefix[len(from.prefix)-1], "route", verb, "blackhole", to.ip+"/32")
}

func (n *namespaces) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i, p := range n.all {
		// A namespace and its link exist until the last closed connection in it
		// has timed out.
		ip(ctx, "link", "del", n.link(i+2))
		ip(ctx, "netns", "del", p.prefix[len(p.prefix)-1])
	}
	ip(ctx, "link", "del", n.id)
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fault: ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// sweep removes what killed runs have left; each name has their process number.
func sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	spaces, _ := os.ReadDir("/run/netns")
	for _, e := range spaces {
		if orphan(e.Name()) {
			ip(ctx, "netns", "del", e.Name())
		}
	}
	links, _ := os.ReadDir("/sys/class/net")
	for _, e := range links {
		if orphan(e.Name()) {
			ip(ctx, "link", "del", e.Name())
		}
	}
	mounts, _ := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "tmpfs" && orphan(f[0]) {
			unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
}

// orphan reports whether a name is one of ours, ff1234-…, whose process has exited.
func orphan(name string) bool {
	rest, ours := strings.CutPrefix(name, "ff")
	number, _, ok := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(number)
	if !ours || !ok || err != nil {
		return false
	}
	return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
