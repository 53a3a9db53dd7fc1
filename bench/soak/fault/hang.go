package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hung makes the embedded NATS server of a node wait for a disk that does not answer.
var hung = &stage{shape: shape{nodes: 1}, round: (*trial).hang}

// hangTime is the time limit for a node to notice that, to drain and to exit: three tries of 15 s, 20 s for the server
// to stop, and 15 s for the store to close.
const hangTime = 2 * time.Minute

// hang puts pipes without a reader in the place of files that the embedded server is about to write. Nothing is missing
// afterwards, so the node that is started next must have everything.
func (t *trial) hang() error {
	n := t.nodes[0]
	blocks, err := blocks(t.store)
	if err != nil || len(blocks) == 0 {
		return fmt.Errorf("no block files in %s: %v", t.store, err)
	}
	dir := filepath.Dir(blocks[0])
	last := 0
	for _, file := range blocks {
		var number int
		if _, err := fmt.Sscanf(filepath.Base(file), "%d.blk", &number); err != nil {
			return err
		}
		last = max(last, number)
	}
	before, err := os.Stat(n.log)
	if err != nil {
		return err
	}
	pipes := []string{filepath.Join(dir, "index.db.tmp"), filepath.Join(dir, fmt.Sprintf("%d.blk", last+1))}
	for _, pipe := range pipes {
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			return err
		}
		defer os.Remove(pipe)
	}
	// Until the server needs its next block.
	err = until(t.ctx, hangTime, func(ctx context.Context) error {
		t.probes++
		_, err := n.push(ctx, prober, fmt.Sprint("hang ", t.probes), strings.Repeat("x", 1_000_000))
		if err == nil {
			return errors.New("the store does not hang")
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.tell("the embedded NATS server hangs")
	err = until(t.ctx, hangTime, func(context.Context) error {
		if n.running() {
			return errors.New("the node does not exit")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.tail())
	}
	log, err := os.ReadFile(n.log)
	if err != nil {
		return err
	}
	said := string(log[before.Size():])
	if n.status() != 1 || !strings.Contains(said, "the store hangs") || !strings.Contains(said, t.store) {
		return fmt.Errorf("the node exits with status %d and says %s", n.status(), said)
	}
	for _, pipe := range pipes {
		if err := os.Remove(pipe); err != nil {
			return err
		}
	}
	return t.relaunch(n)
}

// unlinked removes the file that the embedded server appends to, while the node runs.
var unlinked = &stage{shape: shape{nodes: 1}, round: (*trial).unlink}

func (t *trial) unlink() error {
	n := t.nodes[0]
	stored, err := blocks(t.store)
	if err != nil {
		return err
	}
	file, _, err := unreadIn(stored)
	if err != nil {
		return err
	}
	for _, file := range stored {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	t.tell("%s removed while the node runs", filepath.Base(file))
	err = until(t.ctx, 20*time.Second, func(ctx context.Context) error {
		t.probes++
		_, err := n.push(ctx, prober, fmt.Sprint("unlinked ", t.probes), "probe")
		if status(err) != http.StatusServiceUnavailable {
			return fmt.Errorf("a push that cannot be stored is answered with %v", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := n.isReady(t.ctx); err == nil {
		return errors.New("the node does not say that its store is away")
	}
	if t.rnd.IntN(2) == 0 {
		n.stop()
	} else {
		n.kill()
	}
	return t.mustRefuse(n)
}

// cut cuts off the ends of the account and of the messages together, as they were before.
var cut = &stage{shape: shape{nodes: 1}, round: (*trial).cutEnds}

func (t *trial) cutEnds() error {
	n := t.nodes[0]
	account := filepath.Join(t.store, "account.log")
	before := make(map[string]int64)
	stored, err := blocks(t.store)
	if err != nil {
		return err
	}
	for _, file := range append(stored, account) {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		before[file] = info.Size()
	}
	if err := t.gather(); err != nil {
		return err
	}
	n.kill()
	if stored, err = blocks(t.store); err != nil {
		return err
	}
	for _, file := range append(stored, account) {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		size, known := before[file]
		switch {
		case !known:
			err = os.Remove(file)
		case info.Size() < size:
			return fmt.Errorf("%s has %d bytes, and had %d", file, info.Size(), size)
		default:
			err = os.Truncate(file, size)
		}
		if err != nil {
			return err
		}
		t.tell("%s truncated from %d to %d bytes", filepath.Base(file), info.Size(), size)
	}
	return t.mustRefuse(n)
}

// mustRefuse is survive for a loss that must be noticed.
func (t *trial) mustRefuse(n *node) error {
	refused, err := t.survive(n)
	if err == nil && !refused {
		err = errors.New("messages are missing, and the node starts as if they were not")
	}
	return err
}
