package inbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
)

// TestPositionsSetBack: a damaged record of a position that leaves an earlier one is
// announced in the log, with how many users receive messages a second time.
func TestPositionsSetBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	for _, name := range []string{"u", "v", "w"} {
		for _, offset := range put(t, s, user(name), "1", "2") {
			if err := s.AckSync(ctx, user(name), name, offset); err != nil {
				t.Fatal(err)
			}
		}
	}
	running := files(t, dir)
	s.close()
	all := files(t, dir)
	positions := filepath.Join("jetstream", "$G", "streams", subject.Ack.Stream(), "msgs", "1.blk")
	last := func(b []byte, name string) int { return bytes.LastIndex(b, []byte("fanfare.ack."+name)) }
	for _, test := range []struct {
		name  string
		files map[string][]byte
		do    func(b []byte) []byte
		want  string // in the log; empty: no warning
		info  string
	}{
		{"payload of the last record", all, func(b []byte) []byte { b[len(b)-10] ^= 1; return b }, "positions=1 users=1", ""},
		{"last record cut off", all, func(b []byte) []byte { return b[:last(b, "w")-account.RecordHeader] }, `positions=1 users="0 to 1"`, ""},
		{"within the last record", all, func(b []byte) []byte { return b[:len(b)-5] }, "positions=1 users=1", ""},
		{"last record of a user in the middle", all, func(b []byte) []byte { b[last(b, "u")+len("fanfare.ack.u")+50] ^= 1; return b }, "positions=1 users=1", ""},
		{"a name", all, func(b []byte) []byte { b[last(b, "u")+3] ^= 1; return b }, `positions=1 users="0 to 1"`, ""},
		{"record of a position with a later one", all, func(b []byte) []byte { b[60] ^= 1; return b }, "", ""},
		{"last write of a process that was killed", running, func(b []byte) []byte { return b[:len(b)-5] }, "", "incomplete last write discarded"},
		{"nothing", all, func(b []byte) []byte { return b }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log logged
			s := open(t, Config{Dir: lay(t, with(test.files, positions, change{"", test.do})), Logger: log.logger()})
			said := log.String()
			if warned := strings.Contains(said, "positions damaged"); warned != (test.want != "") || !strings.Contains(said, test.want) {
				t.Errorf("got %s, want %q", said, test.want)
			}
			if logged := strings.Contains(said, "incomplete last write"); logged != (test.info != "") || !strings.Contains(said, test.info) {
				t.Errorf("got %s, want %q", said, test.info)
			}
			for _, name := range []string{"u", "v", "w"} {
				if _, known, err := s.Acked(ctx, user(name), name); !known || err != nil {
					t.Errorf("position of %s: %v, %v", name, known, err)
				}
			}
			log.reset()
			s.close()
			open(t, Config{Dir: s.cfg.Dir, Logger: log.logger()})
			if log.String() != "" {
				t.Errorf("opened again: %s", log.String())
			}
		})
	}
}

// TestClosedByAnother: what an orderly end has left is not compared with files that a
// version which does not know it has changed since.
func TestClosedByAnother(t *testing.T) {
	s := open(t, Config{})
	put(t, s, user("u"), "1")
	s.close()
	was, err := os.ReadFile(account.ClosingFile(s.cfg.Dir))
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: s.cfg.Dir})
	if account.FileExists(account.ClosingFile(s.cfg.Dir)) {
		t.Error("an open store is said to be closed")
	}
	put(t, s, user("u"), "2")
	s.close()
	if err := os.WriteFile(account.ClosingFile(s.cfg.Dir), was, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, Config{Dir: s.cfg.Dir})
}
