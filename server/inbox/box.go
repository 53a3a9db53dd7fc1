package inbox

import (
	"strings"

	"fanfare/server/store"
)

// kind is the stream that a box belongs to. All inboxes share one stream, all
// topics another.
type kind uint8

const (
	inboxKind kind = iota
	topicKind
	ackKind // positions; no box has it
	kinds
)

var (
	streams  = [kinds]string{"FANFARE_INBOX", "FANFARE_TOPIC", "FANFARE_ACK"}
	prefixes = [kinds]string{"fanfare.inbox.", "fanfare.topic.", "fanfare.ack."}
)

func (k kind) stream() string { return streams[k] }

// box is a store.Box as a subject of JetStream.
type box struct {
	kind    kind
	subject string
}

func boxOf(b store.Box) box {
	if b.Topic != "" {
		return box{topicKind, prefixes[topicKind] + token(b.Topic)}
	}
	return box{inboxKind, prefixes[inboxKind] + token(b.User)}
}

// name is the subject without its prefix.
func (b box) name() string { return strings.TrimPrefix(b.subject, prefixes[b.kind]) }

// boxNamed is the reverse of name.
func boxNamed(k kind, name string) box { return box{k, prefixes[k] + name} }

// positionName is the subject, without its prefix, that stores up to where a user
// has acknowledged a box: "user" for the user's inbox, "user.topic" for a topic.
func positionName(b store.Box, user string) string {
	if b.Topic != "" {
		return token(user) + "." + token(b.Topic)
	}
	return token(b.User)
}

// token returns a name as one token of a subject, a different one for each name:
// all characters but letters, digits, '-' and '_' become '=' and two hex digits.
func token(name string) string {
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
