package account

import (
	"fmt"
	"strings"
	"time"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/internal/field"
	"fanfare/server/store"
)

// loss lists what the account has and the files do not.
type loss struct {
	Boxes     map[subject.Box]*boxLoss
	Messages  int
	newest    time.Time
	Positions []string
	// power is the part of messages that a power cut may have cost, according to
	// Config.Sync.
	power int
	// Unknown says why the check cannot tell what is missing; empty: it can.
	Unknown string
	// unknownPower: a power cut may have cost it, according to Config.Sync.
	unknownPower bool
}

type boxLoss struct {
	Last uint64 // greatest offset of a missing message
}

// Tolerable reports whether no more is missing than a power cut may cost.
func (l *loss) Tolerable() bool {
	return (l.Unknown == "" || l.unknownPower) && l.Messages == l.power && (len(l.Positions) == 0 || l.power > 0 || l.unknownPower)
}

// in reports whether something of a stream is missing.
func (l *loss) in(k subject.Kind) bool {
	if l.Unknown != "" || k == subject.Ack && len(l.Positions) > 0 {
		return true
	}
	for b := range l.Boxes {
		if b.Kind == k {
			return true
		}
	}
	return false
}

// Nothing reports whether nothing is missing.
func (l *loss) Nothing() bool {
	return l.Unknown == "" && l.Messages == 0 && len(l.Positions) == 0
}

// Describe returns what is missing, in words.
func (l *loss) Describe() string {
	var parts []string
	if l.Messages > 0 {
		var n [2]int
		for b := range l.Boxes {
			n[b.Kind]++
		}
		var of []string
		if n[subject.Inbox] > 0 {
			of = append(of, count(n[subject.Inbox], "user"))
		}
		if n[subject.Topic] > 0 {
			of = append(of, count(n[subject.Topic], "topic"))
		}
		verb := "are"
		if l.Messages == 1 {
			verb = "is"
		}
		parts = append(parts, fmt.Sprintf("%s of %s %s missing, the newest stored at %s",
			count(l.Messages, "message"), strings.Join(of, " and "), verb, l.newest.Format(time.RFC3339)))
	}
	if len(l.Positions) > 0 {
		users := make(map[string]bool)
		for _, name := range l.Positions {
			user, _, _ := strings.Cut(name, ".")
			users[user] = true
		}
		parts = append(parts, fmt.Sprintf("%s of %s missing",
			count(len(l.Positions), "acknowledged position"), count(len(users), "user")))
	}
	if l.Unknown != "" {
		parts = append(parts, l.Unknown+", so that it cannot be told whether messages are missing, and for whom")
	}
	return strings.Join(parts, "; ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ErrAcceptLoss says how to open a store from which messages are missing.
var ErrAcceptLoss = field.Errorf("AcceptLoss", "goes on without what is missing")

// Err returns the error with which a store that misses messages does not open.
func (c *Check) Err() error {
	var files []string
	for k := range c.Streams {
		for _, d := range c.Streams[k].Damaged {
			files = append(files, d.String())
		}
	}
	damaged := ""
	if len(files) > 0 {
		damaged = fmt.Sprintf(" (%d damaged parts of files, the first: %s)", len(files), files[0])
	}
	return field.Wrapf("%w: %s%s; restore %s from a backup; %w",
		store.ErrDamaged, c.Loss.Describe(), damaged, c.Dir, ErrAcceptLoss)
}
