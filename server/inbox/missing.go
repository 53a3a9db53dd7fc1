package inbox

import (
	"fmt"
	"strings"
	"time"

	"fanfare/server/internal/field"
	"fanfare/server/store"
)

// loss is what is missing.
type loss struct {
	boxes     map[box]*boxLoss
	messages  int
	newest    time.Time
	positions []string
	// power is the part of messages that a power cut may have cost, according to
	// Config.Sync.
	power int
	// unknown says why it cannot be told what is missing; empty: it can.
	unknown string
}

type boxLoss struct {
	last uint64 // greatest offset of a missing message
}

// tolerable reports whether nothing is missing, or what a power cut may cost.
func (l *loss) tolerable() bool {
	return l.unknown == "" && l.messages == l.power && (len(l.positions) == 0 || l.power > 0)
}

// in reports whether something of a stream is missing.
func (l *loss) in(k kind) bool {
	if l.unknown != "" || k == ackKind && len(l.positions) > 0 {
		return true
	}
	for b := range l.boxes {
		if b.kind == k {
			return true
		}
	}
	return false
}

func (l *loss) nothing() bool {
	return l.unknown == "" && l.messages == 0 && len(l.positions) == 0
}

// describe says what is missing.
func (l *loss) describe() string {
	var parts []string
	if l.messages > 0 {
		var n [2]int
		for b := range l.boxes {
			n[b.kind]++
		}
		var of []string
		if n[inboxKind] > 0 {
			of = append(of, count(n[inboxKind], "user"))
		}
		if n[topicKind] > 0 {
			of = append(of, count(n[topicKind], "topic"))
		}
		verb := "are"
		if l.messages == 1 {
			verb = "is"
		}
		parts = append(parts, fmt.Sprintf("%s of %s %s missing, the newest stored at %s",
			count(l.messages, "message"), strings.Join(of, " and "), verb, l.newest.Format(time.RFC3339)))
	}
	if len(l.positions) > 0 {
		users := make(map[string]bool)
		for _, name := range l.positions {
			user, _, _ := strings.Cut(name, ".")
			users[user] = true
		}
		parts = append(parts, fmt.Sprintf("%s of %s missing",
			count(len(l.positions), "acknowledged position"), count(len(users), "user")))
	}
	if l.unknown != "" {
		parts = append(parts, l.unknown+", so that it cannot be told whether messages are missing, and for whom")
	}
	return strings.Join(parts, "; ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// errAcceptLoss says how to open a store from which messages are missing.
var errAcceptLoss = field.Errorf("AcceptLoss", "goes on without what is missing")

// err is what Open returns unless the loss is accepted.
func (c *check) err() error {
	var files []string
	for k := range c.streams {
		for _, d := range c.streams[k].damaged {
			files = append(files, d.String())
		}
	}
	damaged := ""
	if len(files) > 0 {
		damaged = fmt.Sprintf(" (%d damaged parts of files, the first: %s)", len(files), files[0])
	}
	return fmt.Errorf("%w: %s%s; restore %s from a backup; %w",
		store.ErrDamaged, c.loss.describe(), damaged, c.dir, errAcceptLoss)
}
