package inbox

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/internal/field"
)

// This file concerns a store whose limits are stricter than those of its last start: what is
// stored beyond them is removed at the start.

// setting returns what the program calls a field of Config.
func (s *Store) setting(name string) string { return field.Setting(s.cfg.FieldName, name) }

// rejectsRemoval reports whether unread messages of a stream are not removed
// at Config.Messages.
func (s *Store) rejectsRemoval(k subject.Kind) bool {
	return k == subject.Inbox && s.cfg.UserFull == FullReject
}

func tooFewMessages(limit, unread, users int) error {
	return limitError{field.Errorf("Messages", "is %d: %d unread messages of %d users are beyond it; "+
		"want a greater limit", limit, unread, users)}
}

// verifyLimits returns an error, before anything is changed, if unread messages of an embedded
// store are beyond a limit that is not to remove any.
func (s *Store) verifyLimits(c *account.Check) error {
	if !s.rejectsRemoval(subject.Inbox) || !c.Compared() || s.limits().Messages >= c.Tally.Limits.Messages {
		return nil
	}
	by, err := c.Exceeding(c.Tally.Limits, s.limits(), [2]uint64{})
	if err != nil {
		return fmt.Errorf("inbox: account: %w", err)
	}
	if x := by[account.ByMessages]; x.Unread > 0 {
		return field.Wrapf("inbox: %w", tooFewMessages(s.cfg.Messages, x.Unread, x.Users))
	}
	return nil
}

// logRemoved logs what the start of an embedded server has removed, which had other limits
// before, and what it is about to.
func (s *Store) logRemoved(ctx context.Context, c *account.Check, had account.Limits) error {
	l := s.limits()
	if !c.Compared() || l.Messages >= had.Messages && l.Age >= had.Age && l.Disk >= had.Disk {
		return nil
	}
	var first [2]uint64
	if l.DropOldest {
		for k := range first {
			st, err := s.state(ctx, subject.Kind(k))
			if err != nil {
				return err
			}
			first[k] = st.First
		}
	}
	by, err := c.Exceeding(had, l, first)
	if err != nil {
		return fmt.Errorf("inbox: account: %w", err)
	}
	for r, limit := range map[account.Reason]struct {
		name  string
		value any
	}{
		account.ByAge:      {"Age", s.cfg.Age},
		account.ByMessages: {"Messages", s.cfg.Messages},
		account.ByDisk:     {"Disk", s.cfg.Disk},
	} {
		if x := by[r]; x.Messages > 0 {
			s.log.Warn("stored messages removed at a lower limit", "limit", s.setting(limit.name), "value", limit.value,
				"messages", x.Messages, "unread", x.Unread, "users", x.Users, "topics", x.Topics,
				"effect", "readers that missed some get a gap")
		}
	}
	return nil
}

// verifyOutside returns an error if unread messages of inboxes in an outside NATS are beyond a
// limit that is not to remove any, and is about to be lowered. What they have read is removed.
func (s *Store) verifyOutside(ctx context.Context, k subject.Kind, found jetstream.Stream, have, want jetstream.StreamConfig) error {
	if s.local != nil || !s.rejectsRemoval(k) || !lower(want.MaxMsgsPerSubject, have.MaxMsgsPerSubject) {
		return nil
	}
	info, err := found.Info(ctx, jetstream.WithSubjectFilter(k.Prefix()+"*"))
	if err != nil {
		return err
	}
	unread, users, limit := 0, 0, uint64(s.cfg.Messages)
	for name, n := range info.State.Subjects {
		if n <= limit {
			continue
		}
		removed, err := s.purgeRead(ctx, subject.Box{Kind: k, Subject: name})
		if err != nil {
			return err
		}
		if n -= min(n, removed); n > limit {
			unread += int(n - limit)
			users++
		}
	}
	if users > 0 {
		return tooFewMessages(s.cfg.Messages, unread, users)
	}
	return nil
}

// logRemovedOutside logs what an outside NATS has removed of a stream whose limits were changed.
// It may remove what has expired a little later.
func (s *Store) logRemovedOutside(k subject.Kind, had, has *jetstream.StreamInfo) {
	if s.local != nil || k == subject.Ack {
		return
	}
	var limits []string
	for _, l := range []struct {
		name     string
		was, now int64
	}{
		{"Messages", had.Config.MaxMsgsPerSubject, has.Config.MaxMsgsPerSubject},
		{"Age", int64(had.Config.MaxAge), int64(has.Config.MaxAge)},
		{"Disk", had.Config.MaxBytes, has.Config.MaxBytes},
	} {
		if lower(l.now, l.was) {
			limits = append(limits, s.setting(l.name))
		}
	}
	age := has.Config.MaxAge
	expire := lower(int64(age), int64(had.Config.MaxAge)) && had.State.Msgs > 0 && s.now().Sub(had.State.FirstTime) >= age
	if n := had.State.Msgs - min(had.State.Msgs, has.State.Msgs); n > 0 || expire {
		s.log.Warn("stored messages removed at a lower limit", "stream", k.Stream(), "limits", limits, "messages", n, "expire", expire,
			"effect", "readers that missed some get a gap, after an age only if they name an offset")
	}
}

// lower reports whether a limit is lower than another; a value below 1 means that there is no limit.
func lower(limit, other int64) bool { return limit > 0 && (other <= 0 || limit < other) }
