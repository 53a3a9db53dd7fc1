package cluster

import (
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"

	"fanfare/server"
	"fanfare/server/node"
	"fanfare/server/where"
)

// This file has the fields of the verbs that came with audiences and paced broadcasts. A node
// that does not know these verbs answers with an error, and is reported as missing: it never
// sends a message to sessions that are excluded.

const (
	// maxKey bounds the ID and key of a paced broadcast.
	maxKey = 256
	// everyoneFlag is set in the first byte of an audience that is everyone.
	everyoneFlag = 1
	// whereFlag is set if the text of an expression follows.
	whereFlag = 2
	// conflateFlag is set if Command.Conflate follows.
	conflateFlag = 4
	// receiptFlag is set if Command.Receipt follows.
	receiptFlag = 8
	// intervalFlag is set if Command.Interval follows.
	intervalFlag = 16
)

// checkAudience applies the rules for Audience, ID, Key and Over.
func checkAudience(c *server.Command, f fields) error {
	to := &c.Audience
	if f&hasAudience == 0 {
		if to.Everyone || len(to.Users)+len(to.Topics)+len(to.ExcludeUsers)+len(to.ExcludeSessions) > 0 || to.Where != nil {
			return invalid("verb %d with an audience", c.Verb)
		}
	} else if err := to.Check(); err != nil {
		return invalid("%s", err)
	}
	if err := node.CheckConflate(c.Conflate); err != nil || f&hasAudience == 0 && c.Conflate != "" {
		return invalid("verb %d: conflate %.40q", c.Verb, c.Conflate)
	}
	if err := node.CheckInterval(time.Duration(c.Interval), c.Conflate); err != nil || f&hasAudience == 0 && c.Interval != 0 {
		return invalid("verb %d: interval %d, conflate %.40q", c.Verb, c.Interval, c.Conflate)
	}
	if c.Receipt != "" && (f&hasAudience == 0 || node.CheckReceiptID(c.Receipt) != nil) {
		return invalid("verb %d: receipt %.40q", c.Verb, c.Receipt)
	}
	switch {
	case f&hasID == 0 && c.ID != "" || f&hasPace == 0 && (c.Key != "" || c.Over != 0):
		return invalid("verb %d with the ID, key or time of a paced broadcast", c.Verb)
	case len(c.ID) > maxKey || len(c.Key) > maxKey || !utf8.ValidString(c.ID) || !utf8.ValidString(c.Key):
		return invalid("ID %.40q, key %.40q: want at most %d bytes of UTF-8", c.ID, c.Key, maxKey)
	case f&hasPace != 0 && (c.ID == "" || c.Over <= 0):
		return invalid("verb %d: ID %q, over %v", c.Verb, c.ID, c.Over)
	}
	return nil
}

// appendAudience appends the audience of a command, and the options of its message.
func appendAudience(b []byte, c *server.Command) []byte {
	to := &c.Audience
	flags := byte(0)
	if to.Everyone {
		flags |= everyoneFlag
	}
	if to.Where != nil {
		flags |= whereFlag
	}
	if c.Conflate != "" {
		flags |= conflateFlag
	}
	if c.Receipt != "" {
		flags |= receiptFlag
	}
	if c.Interval != 0 {
		flags |= intervalFlag
	}
	b = append(b, flags)
	for _, list := range [][]string{to.Users, to.Topics, to.ExcludeUsers, to.ExcludeSessions} {
		b = appendStrings(b, list)
	}
	if to.Where != nil {
		b = appendString(b, to.Where.String())
	}
	if c.Conflate != "" {
		b = appendString(b, c.Conflate)
	}
	if c.Receipt != "" {
		b = appendString(b, c.Receipt)
	}
	if c.Interval != 0 {
		b = binary.AppendUvarint(b, uint64(c.Interval))
	}
	return b
}

// audience is the reverse of appendAudience.
func (r *reader) audience(c *server.Command) {
	to, flags := &c.Audience, r.byte()
	to.Everyone = flags&everyoneFlag != 0
	if flags&^(everyoneFlag|whereFlag|conflateFlag|receiptFlag|intervalFlag) != 0 { // that this node does not know, and must not ignore
		r.failed, r.b = true, nil
	}
	for _, list := range []*[]string{&to.Users, &to.Topics, &to.ExcludeUsers, &to.ExcludeSessions} {
		*list = r.strings()
	}
	if flags&whereFlag != 0 {
		expr, err := where.Parse(r.string())
		if err != nil { // the node that sent it has parsed it
			r.failed, r.b = true, nil
		}
		to.Where = expr
	}
	if flags&conflateFlag != 0 {
		c.Conflate = r.string()
	}
	if flags&receiptFlag != 0 {
		c.Receipt = r.string()
	}
	if flags&intervalFlag != 0 {
		c.Interval = node.Interval(r.duration())
	}
}

// duration is a time that is not negative.
func (r *reader) duration() time.Duration {
	v := r.uvarint()
	if v > math.MaxInt64 {
		r.failed, r.b = true, nil
		return 0
	}
	return time.Duration(v)
}

func appendPaced(b []byte, list []server.PacedBroadcast) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		p := &list[i]
		for _, text := range []string{p.ID, p.Key, p.Topic, string(p.State)} {
			b = appendString(b, cut(text, maxName))
		}
		b = appendNumbers(b, uint64(clamp(p.Receivers)), uint64(clamp(p.Of)))
		for _, at := range []time.Time{p.Started, p.Until, p.Ended} {
			b = appendTime(b, at)
		}
	}
	return b
}

func (r *reader) paced() (list []server.PacedBroadcast) {
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		var p server.PacedBroadcast
		p.ID, p.Key, p.Topic, p.State = r.text(maxKey), r.text(maxKey), r.text(maxName), server.PacedState(r.text(maxKey))
		p.Receivers, p.Of = r.int(), r.int()
		for _, at := range []*time.Time{&p.Started, &p.Until, &p.Ended} {
			*at = r.time()
		}
		list = append(list, p)
	}
	return list
}

// appendTime appends nanoseconds since 1970; 0 is the zero time.
func appendTime(b []byte, at time.Time) []byte {
	if at.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, at.UnixNano())
}

func (r *reader) time() time.Time {
	if v := r.varint(); v != 0 {
		return time.Unix(0, v).UTC()
	}
	return time.Time{}
}
