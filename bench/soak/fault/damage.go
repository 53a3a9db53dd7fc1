package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A harm does something to a file, and says what. It hits a byte at an offset, or any if that is negative.
type harm func(file string, hit int, rnd random) (what string, err error)

// damaged kills a node with an embedded store and harms its files.
func damaged(h harm) *stage {
	return &stage{shape: shape{nodes: 1}, round: func(t *trial) error { return t.damage(h) }}
}

func (t *trial) damage(h harm) error {
	n := t.nodes[0]
	n.kill()
	files, err := storeFiles(t.store)
	if err != nil {
		return err
	}
	stored, err := blocks(t.store)
	if err != nil || len(stored) == 0 {
		return fmt.Errorf("no block files in %s: %v", t.store, err)
	}
	victims := make(map[string]int)
	// Some files do not matter, such as an index. The first round hits a message that was not read.
	sure := t.number == 0
	if sure {
		file, hit, err := unreadIn(stored)
		if err != nil {
			return err
		}
		victims[file] = hit
	}
	for len(victims) == 0 || t.rnd.IntN(3) == 0 {
		from := files
		if t.rnd.IntN(2) == 0 {
			from = stored
		}
		if file := from[t.rnd.IntN(len(from))]; victims[file] == 0 {
			victims[file] = -1
		}
	}
	for _, file := range slices.Sorted(maps.Keys(victims)) {
		what, err := h(file, victims[file], t.rnd)
		if err != nil {
			return err
		}
		t.tell("%s: %s", strings.TrimPrefix(file, t.store+"/"), what)
	}
	refused, err := t.survive(n)
	if err == nil && sure && !refused {
		err = errors.New("a block file is damaged, and the node starts as if it were not")
	}
	return err
}

// survive starts a node on a harmed store. It either has everything, or refuses to start and says what is missing.
func (t *trial) survive(n *node) (refused bool, err error) {
	said, err := t.launch(n)
	if err != nil {
		return false, err
	}
	if said == "" {
		_, err := t.probe(n)
		return false, err
	}
	if n.status() == 0 {
		return true, fmt.Errorf("the node exits with status 0: %s", said)
	}
	most, err := readRefusal(said, t.store)
	if err != nil {
		return true, err
	}
	t.counts["refused"]++
	if most < 0 {
		t.tell("the node refuses to start, and cannot tell how many messages are missing")
	} else {
		t.tell("the node refuses to start: %d messages are missing", most)
	}
	old := t.history.saw("")
	t.history.startBreak()
	if said, err := t.launch(n, "--inbox-accept-loss"); said != "" || err != nil {
		return true, fmt.Errorf("with --inbox-accept-loss: %s, %w", said, err)
	}
	t.history.announce(loss{what: "refusal", epochs: old, most: most})
	if _, err := t.probe(n); err != nil {
		return true, err
	}
	t.pause(t.end, t.rnd.upTo(betweenRounds))
	if t.rnd.IntN(2) == 0 {
		n.stop()
	} else {
		n.kill()
	}
	if said, err := t.launch(n); said != "" || err != nil {
		return true, fmt.Errorf("after --inbox-accept-loss once: %s, %w", said, err)
	}
	_, err = t.probe(n)
	return true, err
}

// launch starts a node and waits until it is ready, or has exited; then it returns what the node said.
func (t *trial) launch(n *node, flags ...string) (said string, err error) {
	before, err := os.Stat(n.log)
	if err != nil {
		return "", err
	}
	argv := n.argv
	n.argv = slices.Concat(argv, flags)
	err = n.start()
	n.argv = argv
	if err != nil {
		return "", err
	}
	err = until(t.ctx, 30*time.Second, func(ctx context.Context) error {
		if !n.running() {
			return errEnded
		}
		return n.isReady(ctx)
	})
	if !errors.Is(err, errEnded) {
		if err != nil {
			err = fmt.Errorf("the node is not ready: %w\n%s", err, n.tail())
		}
		return "", err
	}
	log, err := os.ReadFile(n.log)
	if err != nil {
		return "", err
	}
	if said = strings.TrimSpace(string(log[before.Size():])); said == "" {
		err = fmt.Errorf("the node exits with status %d and says nothing", n.status())
	}
	return said, err
}

var missingMessages = regexp.MustCompile(`\b(\d+) messages? of [^;(]* (?:is|are) missing`)

// readRefusal reads how many messages are missing, -1 if the node cannot tell, and checks that the rest of the error
// helps the operator.
func readRefusal(said, dir string) (most int, err error) {
	for _, word := range []string{"damaged", "missing", "restore " + dir, "--inbox-accept-loss"} {
		if !strings.Contains(said, word) {
			return 0, fmt.Errorf("the node refuses to start without saying %q: %s", word, said)
		}
	}
	switch m := missingMessages.FindStringSubmatch(said); {
	case strings.Contains(said, "cannot be told"), strings.Contains(said, "messages are missing: stream"):
		return -1, nil
	case m != nil:
		return strconv.Atoi(m[1])
	}
	if strings.Contains(said, "acknowledged position") {
		return 0, nil // no message is, but some arrive again
	}
	return 0, fmt.Errorf("the node refuses to start without saying how much is missing: %s", said)
}

// storeFiles returns the files of an embedded store, except the lock and the reserve.
func storeFiles(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != "LOCK" && e.Name() != "reserve" {
			files = append(files, file)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("fault: no files in %s", dir)
	}
	return files, err
}

// blocks returns the files with the messages of inboxes.
func blocks(dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "FANFARE_INBOX", "msgs", "*.blk"))
}

// unreadIn finds a message for a user whose devices are away.
func unreadIn(files []string) (file string, at int, err error) {
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", 0, err
		}
		if at := bytes.LastIndex(b, []byte(absentUser+" ")); at > 0 {
			return file, at, nil
		}
	}
	return "", 0, fmt.Errorf("no file has a message for %s", absentUser)
}

// overwrite changes bytes of a file, in up to four places.
func overwrite(file string, hit int, rnd random) (what string, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if len(b) == 0 {
		return "is empty", nil
	}
	total := 0
	for range 1 + rnd.IntN(4) {
		at := rnd.IntN(len(b))
		if hit >= 0 {
			at, hit = hit, -1
		}
		for i := range b[at:min(len(b), at+1+rnd.IntN(64))] {
			i += at
			b[i] ^= byte(1 + rnd.IntN(255))
			total++
		}
	}
	return fmt.Sprintf("%d of %d bytes overwritten", total, len(b)), os.WriteFile(file, b, 0o600)
}

// truncate removes the end of a file.
func truncate(file string, hit int, rnd random) (what string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	size := info.Size()
	if size == 0 {
		return "is empty", nil
	}
	if hit >= 0 {
		size = int64(hit) + 1
	}
	left := rnd.Int64N(size)
	return fmt.Sprintf("truncated from %d to %d bytes", info.Size(), left), os.Truncate(file, left)
}

// remove removes a file.
func remove(file string, _ int, _ random) (what string, err error) { return "removed", os.Remove(file) }
