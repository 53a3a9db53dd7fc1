package subject

import (
	"strings"
	"time"

	"fanfare/server/store"
)

// Kind is the stream that a box belongs to. All inboxes share one stream, all
// topics another.
type Kind uint8

const (
	Inbox Kind = iota
	Topic
	Ack   // positions; no box has it
	Kinds // how many there are
)

var streams = [Kinds]string{"FANFARE_INBOX", "FANFARE_TOPIC", "FANFARE_ACK"}

var prefixes = [Kinds]string{"fanfare.inbox.", "fanfare.topic.", "fanfare.ack."}

// Stream returns the name of the stream.
func (k Kind) Stream() string { return streams[k] }

// Prefix returns what the subjects of the stream begin with.
func (k Kind) Prefix() string { return prefixes[k] }

// Box is a store.Box as a subject of JetStream.
type Box struct {
	Kind    Kind
	Subject string
}

// Of returns the subject of a box.
func Of(b store.Box) Box {
	if b.Topic != "" {
		return Box{Topic, prefixes[Topic] + Token(b.Topic)}
	}
	return Box{Inbox, prefixes[Inbox] + Token(b.User)}
}

// Name returns the subject without its prefix.
func (b Box) Name() string { return strings.TrimPrefix(b.Subject, prefixes[b.Kind]) }

// Named returns the box with a Name.
func Named(k Kind, name string) Box { return Box{k, prefixes[k] + name} }

// PositionName returns the subject, without its prefix, under which the position of a
// user in a box is stored: "user" for the user's inbox, "user.topic" for a topic.
func PositionName(b store.Box, user string) string {
	if b.Topic != "" {
		return Token(user) + "." + Token(b.Topic)
	}
	return Token(b.User)
}

// Token returns a name as one token of a subject, a different one for each name:
// all characters but letters, digits, '-' and '_' become '=' and two hex digits.
func Token(name string) string {
	const hex = "0123456789abcdef"
	plain := true
	for i := 0; i < len(name) && plain; i++ {
		plain = isPlain(name[i])
	}
	if plain {
		return name
	}
	b := make([]byte, 0, 2*len(name))
	for i := 0; i < len(name); i++ {
		if c := name[i]; isPlain(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// FirstOffset returns the first offset of a stream that is created when offsets up to
// reached are known to have been assigned. Time makes it greater than those of which
// nothing is known: JetStream stores less than 1,024 messages in a millisecond. Offsets
// stay below 2^53, up to which JSON is exact in JavaScript, until 2248. The offset that
// follows reached is skipped, so that a client that had reached it gets a gap.
func FirstOffset(now time.Time, reached uint64) uint64 {
	return max(uint64(now.UnixMilli())<<10, reached+2)
}
