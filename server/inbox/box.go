package inbox

// Box is where messages are kept in order: the inbox of a user, or a topic. The
// zero Box is none.
type Box struct {
	stream  string
	subject string
}

const (
	inboxStream = "FANFARE_INBOX"
	topicStream = "FANFARE_TOPIC"
	ackStream   = "FANFARE_ACK"

	inboxPrefix = "fanfare.inbox."
	topicPrefix = "fanfare.topic."
	ackPrefix   = "fanfare.ack."
)

// User is the inbox of a user.
func User(name string) Box { return Box{inboxStream, inboxPrefix + Token(name)} }

// Topic is a durable topic.
func Topic(name string) Box { return Box{topicStream, topicPrefix + Token(name)} }

// Token makes one token of a NATS subject of any name, and a different one of
// each: what is no letter, digit, '-' or '_' becomes '=' and two hex digits.
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
