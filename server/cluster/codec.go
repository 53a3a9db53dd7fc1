package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"fanfare/frame"
	"fanfare/server"
)

// On the wire a command is its verb and then, in the order of the constants below,
// the fields that the verb uses: numbers as uvarints, names with their length
// before them, and the payload, which takes the rest.
type fields uint16

const (
	hasUser fields = 1 << iota
	hasTopic
	hasUsers
	hasTopics
	hasOffset // Epoch, Offset and Prev
	hasCode   // Code and Reason
	hasExcept
	hasAudience
	hasID
	hasPace    // Key and Over
	hasPage    // After and Limit
	hasPayload // Op and Payload

	// hasNothing: the verb is all there is.
	hasNothing
	// oneOf: either User or Topic is set, not both.
	oneOf
)

var verbs = [...]fields{
	server.VerbPush:        hasUser | hasPayload,
	server.VerbPublish:     hasTopic | hasPayload | hasExcept,
	server.VerbBroadcast:   hasPayload,
	server.VerbPushMany:    hasUsers | hasTopics | hasPayload,
	server.VerbStored:      hasUser | hasTopic | oneOf | hasOffset | hasPayload,
	server.VerbClose:       hasUser | hasCode,
	server.VerbSessions:    hasUser | hasTopic | oneOf,
	server.VerbSubscribers: hasTopic,
	server.VerbSubscribe:   hasUser | hasTopic,
	server.VerbUnsubscribe: hasUser | hasTopic,
	server.VerbRefresh:     hasUser | hasPayload,
	server.VerbRevoke:      hasPayload,
	server.VerbUnrevoke:    hasPayload,
	server.VerbDeliver:     hasAudience | hasPayload,
	server.VerbPaced:       hasAudience | hasID | hasPace | hasPayload,
	server.VerbPacedList:   hasID,
	server.VerbPacedCancel: hasID,
	server.VerbPresence:    hasUsers,
	server.VerbTopicUsers:  hasTopic | hasPage,
	server.VerbDescribe:    hasNothing,
	server.VerbReceipt:     hasID,
	server.VerbMembers:     hasTopic | hasPayload,
	server.VerbInquire:     hasPayload,
	server.VerbOperate:     hasPayload,
}

func fieldsOf(v server.Verb) (fields, error) {
	if int(v) >= len(verbs) || verbs[v] == 0 {
		return 0, invalid("unknown verb %d", v)
	}
	return verbs[v], nil
}

const (
	// maxName bounds users, topics and session IDs. A handshake of 60 KiB has room
	// for less.
	maxName = 64 << 10
	// maxEpoch bounds an epoch of a store.
	maxEpoch = 32
	// maxOffset is what fits into an int64, as offsets of JetStream do.
	maxOffset = 1<<63 - 1
	// maxReason is what a close frame has room for after the code (RFC 6455, 5.5).
	maxReason = 125 - 2
)

// invalid wraps server.ErrInvalidCommand.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", server.ErrInvalidCommand, fmt.Sprintf(format, args...))
}

// checkCommand applies the rules that hold for what is sent and for what is
// received: each field is valid, and set only if the verb uses it.
func checkCommand(c *server.Command) error {
	f, err := fieldsOf(c.Verb)
	if err != nil {
		return err
	}
	if err := checkNames(c, f); err != nil {
		return err
	}
	if err := checkAudience(c, f); err != nil {
		return err
	}
	switch {
	case f&hasOffset == 0 && (c.Epoch != "" || c.Offset != 0 || c.Prev != 0):
		return invalid("verb %d with an offset", c.Verb)
	case f&hasOffset != 0 && c.Epoch == "":
		return invalid("verb %d without an epoch", c.Verb)
	case len(c.Epoch) > maxEpoch || !utf8.ValidString(c.Epoch):
		return invalid("epoch %.40q: want at most %d bytes of UTF-8", c.Epoch, maxEpoch)
	case c.Offset > maxOffset || c.Prev > c.Offset:
		return invalid("offset %d after %d", c.Offset, c.Prev)
	case f&hasCode == 0 && (c.Code != 0 || c.Reason != ""):
		return invalid("verb %d with a close code or reason", c.Verb)
	case f&hasCode != 0 && !frame.CloseCodeAllowed(c.Code):
		return invalid("close code %d", c.Code)
	case !utf8.ValidString(c.Reason):
		return invalid("reason is not UTF-8")
	case len(c.Reason) > maxReason:
		return invalid("reason of %d bytes: at most %d fit into a close frame", len(c.Reason), maxReason)
	}
	return checkPayload(c, f)
}

func checkNames(c *server.Command, f fields) error {
	for _, n := range []struct {
		what, name string
		used       bool
	}{{"User", c.User, f&hasUser != 0}, {"Topic", c.Topic, f&hasTopic != 0}} {
		switch {
		case n.name == "" && n.used && f&oneOf == 0:
			return invalid("verb %d without %s", c.Verb, n.what)
		case n.name != "" && !n.used:
			return invalid("verb %d with %s", c.Verb, n.what)
		}
		if err := checkName(n.what, n.name); err != nil {
			return err
		}
	}
	if f&oneOf != 0 && (c.User == "") == (c.Topic == "") {
		return invalid("verb %d: want either User or Topic", c.Verb)
	}
	if (c.After != "" || c.Limit != 0) && f&hasPage == 0 {
		return invalid("verb %d with a page", c.Verb)
	}
	if f&hasPage != 0 && c.Limit <= 0 {
		return invalid("a page of %d users", c.Limit)
	}
	if err := checkName("After", c.After); err != nil {
		return err
	}
	if c.Except != "" && f&hasExcept == 0 {
		return invalid("verb %d with Except", c.Verb)
	}
	if err := checkName("Except", c.Except); err != nil {
		return err
	}
	if len(c.Users) > 0 && f&hasUsers == 0 || len(c.Topics) > 0 && f&hasTopics == 0 {
		return invalid("verb %d with Users or Topics", c.Verb)
	}
	for _, list := range [][]string{c.Users, c.Topics} {
		for _, name := range list {
			if name == "" {
				return invalid("empty name in a list")
			}
			if err := checkName("name in a list", name); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkName(what, name string) error {
	if len(name) > maxName {
		return invalid("%s of %d bytes: want at most %d", what, len(name), maxName)
	}
	if !utf8.ValidString(name) {
		return invalid("%s %.40q is not UTF-8", what, name)
	}
	return nil
}

func checkPayload(c *server.Command, f fields) error {
	switch {
	case f&hasPayload == 0 || c.Op == 0 && c.Verb == server.VerbStored:
		if c.Op != 0 || len(c.Payload) > 0 {
			return invalid("verb %d, opcode %d: unexpected payload of %d bytes", c.Verb, c.Op, len(c.Payload))
		}
	case c.Op == server.Text:
		if !utf8.Valid(c.Payload) { // RFC 6455, 8.1
			return invalid("text is not UTF-8")
		}
	case c.Op != server.Binary:
		return invalid("opcode %d: want %d or %d", c.Op, server.Text, server.Binary)
	}
	return nil
}

// appendCommand appends a valid command.
func appendCommand(b []byte, c *server.Command) []byte {
	f := verbs[c.Verb]
	b = append(b, byte(c.Verb))
	if f&hasUser != 0 {
		b = appendString(b, c.User)
	}
	if f&hasTopic != 0 {
		b = appendString(b, c.Topic)
	}
	if f&hasUsers != 0 {
		b = appendStrings(b, c.Users)
	}
	if f&hasTopics != 0 {
		b = appendStrings(b, c.Topics)
	}
	if f&hasOffset != 0 {
		b = binary.AppendUvarint(binary.AppendUvarint(appendString(b, c.Epoch), c.Offset), c.Prev)
	}
	if f&hasCode != 0 {
		b = appendString(binary.AppendUvarint(b, uint64(c.Code)), c.Reason)
	}
	if f&hasExcept != 0 {
		b = appendString(b, c.Except)
	}
	if f&hasAudience != 0 {
		b = appendAudience(b, c)
	}
	if f&hasID != 0 {
		b = appendString(b, c.ID)
	}
	if f&hasPace != 0 {
		b = binary.AppendUvarint(appendString(b, c.Key), uint64(c.Over))
	}
	if f&hasPage != 0 {
		b = binary.AppendUvarint(appendString(b, c.After), uint64(clamp(c.Limit)))
	}
	if f&hasPayload != 0 {
		b = append(append(b, byte(c.Op)), c.Payload...)
	}
	return b
}

// decodeCommand returns the command that b encodes. Its payload is part of b.
func decodeCommand(b []byte) (*server.Command, error) {
	r := reader{b: b}
	c := &server.Command{Verb: server.Verb(r.byte())}
	f, err := fieldsOf(c.Verb)
	if err != nil {
		return nil, err
	}
	if f&hasUser != 0 {
		c.User = r.string()
	}
	if f&hasTopic != 0 {
		c.Topic = r.string()
	}
	if f&hasUsers != 0 {
		c.Users = r.strings()
	}
	if f&hasTopics != 0 {
		c.Topics = r.strings()
	}
	if f&hasOffset != 0 {
		c.Epoch, c.Offset, c.Prev = r.string(), r.uvarint(), r.uvarint()
	}
	if f&hasCode != 0 {
		code := r.uvarint()
		if code > 0xffff {
			return nil, invalid("close code %d", code)
		}
		c.Code, c.Reason = server.Code(code), r.string()
	}
	if f&hasExcept != 0 {
		c.Except = r.string()
	}
	if f&hasAudience != 0 {
		r.audience(c)
	}
	if f&hasID != 0 {
		c.ID = r.string()
	}
	if f&hasPace != 0 {
		c.Key, c.Over = r.string(), r.duration()
	}
	if f&hasPage != 0 {
		c.After, c.Limit = r.string(), r.int()
	}
	if f&hasPayload != 0 {
		c.Op, c.Payload = server.Op(r.byte()), r.rest()
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return c, checkCommand(c)
}

var errTruncated = errors.New("truncated or malformed message")

// reader decodes the fields of a message. After the first error it returns zero values.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if r.failed || n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string { return string(r.bytes(r.uvarint())) }

// strings allocates as it reads, not for the number that is declared. An
// empty name is an error: one byte must not become a string header of 16.
func (r *reader) strings() (list []string) {
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		s := r.string()
		if s == "" {
			r.failed, r.b = true, nil
			return nil
		}
		list = append(list, s)
	}
	return list
}

func (r *reader) rest() []byte {
	v := r.b
	r.b = nil
	return v
}

// end returns an error if something was missing, or is left.
func (r *reader) end() error {
	if r.failed || len(r.b) > 0 {
		return errTruncated
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}
