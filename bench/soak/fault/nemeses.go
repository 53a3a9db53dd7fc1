package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Nemesis is a kind of fault.
type Nemesis struct {
	Name string
	Help string // what it does

	// A nemesis either disturbs a cluster, beside others, or has servers of its own. disturb returns a function that
	// ends the fault, or nil if the fault is not possible now.
	disturb func(*nemesis, random) (what string, undo func())
	// long faults last longer, because it takes time to detect them.
	long  bool
	nats  bool // it disturbs NATS, not the nodes
	stage *stage
	// own runs one that has a cluster of its own, and users without messages.
	own func(r *run, ctx context.Context, dir string) (*Result, error)
}

// Nemeses returns all kinds of faults.
func Nemeses() []Nemesis {
	return []Nemesis{
		{Name: "kill-nats", Help: "SIGKILL for a NATS server", disturb: killNATS, nats: true},
		{Name: "kill-all-nats", Help: "SIGKILL for all NATS servers", disturb: killAllNATS, nats: true},
		{Name: "freeze-nats", Help: "SIGSTOP for a NATS server", disturb: freezeNATS, nats: true, long: true},
		{Name: "cut-nats", Help: "no packets between a NATS server and its peers", disturb: cutNATS, nats: true, long: true},
		{Name: "cut-one-way", Help: "no packets from a NATS server to a peer", disturb: cutOneWay, nats: true, long: true},
		{Name: "fill-disk", Help: "no space on the disk of a NATS server", disturb: fillDisk, nats: true, long: true},
		{Name: "kill-node", Help: "SIGKILL for a node", disturb: killNode},
		{Name: "freeze-node", Help: "SIGSTOP for a node", disturb: freezeNode, long: true},
		{Name: "cut-node", Help: "no packets between a node and NATS", disturb: cutNode, long: true},
		{Name: "cut-clients", Help: "no packets between a node and its clients", disturb: cutClients, long: true},

		{Name: "damage", Help: "wrong bytes in files of an embedded store", stage: damaged(overwrite)},
		{Name: "truncate", Help: "truncated files of an embedded store", stage: damaged(truncate)},
		{Name: "remove", Help: "missing files of an embedded store", stage: damaged(remove)},
		{Name: "remove-open", Help: "the file that an embedded store appends to, removed while the node runs", stage: unlinked},
		{Name: "cut-ends", Help: "account and messages of an embedded store, cut off together", stage: cut},
		{Name: "hang", Help: "an embedded NATS server whose disk does not answer", stage: hung},
		{Name: "backup", Help: "a restored backup of the data directory", stage: restored},
		{Name: "wipe-nats", Help: "an outside NATS that has lost its storage", stage: wiped},
		{Name: "max-payload", Help: "an outside NATS with max_payload 64 KiB", stage: narrowed},
		{Name: "answering-proxy", Help: "a proxy that answers pings itself and loses messages", stage: answered("pong")},
		{Name: "answering-proxy-none", Help: "the same, with --plain-ack none", stage: answered("none")},
		{Name: "presence", Help: "kill-node, freeze-node, cut-node and cut-clients while webhooks report who is online", own: (*run).presence},
	}
}

// Names returns the names of all kinds of faults.
func Names() (names []string) {
	for _, n := range Nemeses() {
		names = append(names, n.Name)
	}
	return names
}

// find returns the kinds of faults with these names, or all of them without names.
func find(names []string) (found []Nemesis, err error) {
	all := Nemeses()
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(n Nemesis) bool { return n.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("fault: unknown nemesis %q; known are %s", name, strings.Join(Names(), ", "))
		}
		found = append(found, all[i])
	}
	return found, nil
}

// disturbing returns the kinds that disturb NATS, or the nodes, of a cluster.
func disturbing(all []Nemesis, nats bool) []Nemesis {
	return slices.DeleteFunc(slices.Clone(all), func(n Nemesis) bool { return n.disturb == nil || n.nats != nats })
}
