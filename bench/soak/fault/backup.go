package fault

import (
	"fmt"
	"maps"
	"os"
)

// restored replaces the data directory of an embedded store by a backup.
var restored = &stage{shape: shape{nodes: 1}, round: (*trial).restoreBackup}

func (t *trial) restoreBackup() error {
	n, backup := t.nodes[0], t.store+".backup"
	// A backup as docs/messages.md describes it: the server is stopped.
	n.stop()
	if err := os.CopyFS(backup, os.DirFS(t.store)); err != nil {
		return err
	}
	defer os.RemoveAll(backup)
	covered := t.history.saw("")
	if err := t.relaunch(n); err != nil {
		return err
	}
	if err := t.gather(); err != nil {
		return err
	}
	if t.rnd.IntN(2) == 0 {
		n.stop()
	} else {
		n.kill()
	}
	after := t.history.saw("")
	maps.DeleteFunc(after, func(epoch string, _ bool) bool { return covered[epoch] })
	if err := os.RemoveAll(t.store); err != nil {
		return err
	}
	if err := os.Rename(backup, t.store); err != nil {
		return err
	}
	t.history.startBreak()
	t.history.announce(loss{what: "backup", epochs: after, most: -1, voids: true})
	t.tell("a backup is restored; the messages of %d epochs after it are missing", len(after))
	return t.relaunch(n)
}

// relaunch starts a node that must not refuse to start, and learns the epoch.
func (t *trial) relaunch(n *node) error {
	said, err := t.launch(n)
	if err == nil && said != "" {
		err = fmt.Errorf("%s refuses to start: %s", n.name, said)
	}
	if err == nil {
		_, err = t.probe(n)
	}
	return err
}
