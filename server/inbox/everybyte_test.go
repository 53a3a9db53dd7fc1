package inbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/subject"
)

// TestEveryByte: the comparison with the account finds each wrong byte and each cut
// of each file that matters, without a server. After an orderly end it finds those in
// the last record of a file, too, and of positions that were set back.
func TestEveryByte(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine compares files")
	}
	t.Run("killed", func(t *testing.T) {
		all, a := killed(t)
		found := 0
		for file := range all {
			if strings.HasSuffix(file, ".blk") || strings.HasSuffix(file, ".log") {
				found += everyByte(t, all, file, a, nil)
			}
		}
		if found == 0 {
			t.Error("nothing is found")
		}
	})
	t.Run("closed", func(t *testing.T) {
		all, a := closed(t)
		positions := filepath.Join("jetstream", "$G", "streams", subject.Ack.Stream(), "msgs", "1.blk")
		for file, missed := range map[string]func(*account.Check) bool{
			"account.log": func(*account.Check) bool { return true },
			positions:     func(c *account.Check) bool { n, _ := c.SetBackPositions(); return n == 0 },
			"closed":      nil,
		} {
			found := everyByte(t, all, file, a, missed)
			if (found > 0) != (missed != nil) {
				t.Errorf("%s: %d found", file, found)
			}
		}
	})
}

// everyByte changes a file in all ways, and returns how often something was found to
// be missing. Otherwise all must be there, and missed, unless it is nil, must be false.
func everyByte(t *testing.T, all map[string][]byte, file string, a *accepted, missed func(*account.Check) bool) (found int) {
	b := all[file]
	dir := lay(t, all)
	for at := range 2 * len(b) {
		changed := bytes.Clone(b)
		if at < len(b) {
			changed[at] ^= 0x10
		} else {
			changed = changed[:at-len(b)]
		}
		if err := os.WriteFile(filepath.Join(dir, file), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := account.Inspect(ctx, dir, datadir.BootID(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if !c.Loss.Tolerable() {
			found++
			continue
		}
		if missed != nil && missed(c) {
			t.Errorf("%s, %d of %d: not found", file, at, len(b))
		}
		for box, messages := range a.messages {
			for offset := range messages {
				if in := subject.Of(box); !c.Streams[in.Kind].Live.Has(offset) {
					t.Errorf("%s, %d of %d: message %d is missing", file, at, len(b), offset)
				}
			}
		}
		for box, name := range a.positions {
			if c.Stored[account.HashPosition(box, name)].Seq == 0 {
				t.Errorf("%s, %d of %d: position of %s is missing", file, at, len(b), name)
			}
		}
	}
	return found
}
