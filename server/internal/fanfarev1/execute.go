package fanfarev1

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"fanfare/registry"
)

// Client is a session whose client speaks fanfare.v1. An error that is an [Error] is the
// answer to the client; any other error has no answer, because the session has ended.
type Client interface {
	Send(o Object)
	MaySubscribe(topic string) bool
	// Subscribe reports whether an object with the position follows by itself.
	Subscribe(topic string, from Start) (begins bool, err error)
	Unsubscribe(topic string)
	Acknowledge(topic, epoch string, offset uint64) error
	// Refresh gives the session the identity that a token proves.
	Refresh(token string) (Refreshed, error)
	// Publish publishes a message to a topic, and Request gives one to the application. An
	// object that answers follows by itself, unless there is an error.
	Publish(id, topic string, p Payload) error
	Request(id string, p Payload) error
}

// Start is where a subscription begins. The zero value begins at the position that the user has
// acknowledged.
type Start struct {
	After  *Position // where the client resumes; nil: it does not say
	Rewind int       // the number of stored messages that the client wants first, if it does not resume
}

// Refreshed is what a new identity brings.
type Refreshed struct {
	Expires   int64    // in seconds since 1970; 0: never
	ExpiresIn int64    // the same in seconds from now
	Ended     []string // the topics whose subscriptions have ended
	Ticket    string   // a resume ticket; empty: none
}

// Error is what a client is answered that has made a mistake.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// MaxRewind bounds Start.Rewind: finding the messages takes a look at each.
const MaxRewind = 1000

// Errors of the methods of Client.
var (
	ErrNotDurable    = &Error{"bad_rewind", "the topic is not durable, and so it has no stored messages: subscribe without rewind"}
	ErrNoInbox       = &Error{"no_inbox", "this server stores no messages"}
	ErrPositions     = &Error{"too_many_positions", "the server stores no further position for this user or address: to resume this topic, name the offset yourself"}
	ErrNotSent       = &Error{"bad_offset", "no message with this offset and epoch was sent in this session"}
	ErrTooManyTopics = &Error{"too_many_topics", "the session has as many subscriptions as it may"}
	ErrNoRefresh     = &Error{"no_refresh", "this server takes no tokens of open sessions: connect again"}
)

// RefreshFailed returns the Error of a token that is not accepted.
func RefreshFailed(message string) *Error { return &Error{"refresh_failed", message} }

// Execute executes what a client has sent in a text message. A mistake is answered and has no
// other effect.
func Execute(c Client, payload []byte) {
	var r Command
	err := r.Parse(payload)
	if err != nil {
		err = &Error{"bad_message", err.Error()}
	} else if err = r.checkID(); err == nil {
		err = r.execute(c)
	}
	Answer(c, r.id(), err)
}

// Answer tells the client about an Error. id is that of its command, if it has one.
func Answer(c Client, id string, err error) {
	var e *Error
	if errors.As(err, &e) {
		c.Send(Object{Type: "error", ID: id, Code: e.Code, Message: e.Message})
	}
}

// ErrBinary is the answer to a binary message.
var ErrBinary = &Error{"bad_message", "expected a text message with one JSON object, not a binary message"}

// members are what commands may have besides type and id.
var members = map[string][]string{
	"ack":         {"topic", "offset", "epoch"},
	"subscribe":   {"topic", "offset", "epoch", "rewind"},
	"unsubscribe": {"topic"},
	"publish":     {"topic", "text", "base64"},
	"request":     {"text", "base64"},
	"refresh":     {"token"},
}

// checkMembers returns an error for a member that has no effect in a command. One that is null or, except
// for a payload, an empty text is as if it were not there.
func (r *Command) checkMembers() error {
	has := members[r.Type]
	for _, m := range [...]struct {
		name  string
		there bool
	}{
		{"topic", r.Topic != ""}, {"offset", r.Offset != nil}, {"epoch", r.Epoch != ""}, {"rewind", r.Rewind != nil},
		{"token", r.Token != ""}, {"text", r.Text != nil}, {"base64", r.Base64 != nil},
	} {
		if m.there && !slices.Contains(has, m.name) {
			return &Error{"bad_message", "field " + Quote(m.name) + " has no effect in " + r.Type + ": expected type, id, " + strings.Join(has, ", ")}
		}
	}
	return nil
}

func (r *Command) execute(c Client) error {
	if _, known := members[r.Type]; known {
		if err := r.checkMembers(); err != nil {
			return err
		}
	}
	switch r.Type {
	case "ack":
		return r.ack(c)
	case "subscribe":
		return r.subscribe(c)
	case "unsubscribe":
		return r.unsubscribe(c)
	case "publish":
		return r.publish(c)
	case "request":
		return r.request(c)
	case "refresh":
		return r.refresh(c)
	}
	return &Error{"bad_type", "unknown type " + Quote(r.Type) + ": expected ack, subscribe, unsubscribe, publish, request or refresh"}
}

func (r *Command) ack(c Client) error {
	if r.Offset == nil {
		return &Error{"bad_offset", "an ack needs an offset"}
	}
	if r.Topic != "" {
		if err := checkTopic(r.Topic); err != nil {
			return err
		}
	}
	return c.Acknowledge(r.Topic, r.Epoch, *r.Offset)
}

func (r *Command) subscribe(c Client) error {
	if err := checkTopic(r.Topic); err != nil {
		return err
	}
	if !c.MaySubscribe(r.Topic) {
		return &Error{"forbidden", "this user may not subscribe to the topic"}
	}
	from, err := r.start()
	if err != nil {
		return err
	}
	begins, err := c.Subscribe(r.Topic, from)
	if err == nil && !begins { // else an object with the offset confirms
		c.Send(Object{Type: "subscribe", Topic: r.Topic})
	}
	return err
}

// start returns where a subscription begins.
func (r *Command) start() (from Start, err error) {
	if r.Rewind != nil {
		if *r.Rewind < 1 || *r.Rewind > MaxRewind {
			return from, &Error{"bad_rewind", "rewind is a number of messages from 1 to " + strconv.Itoa(MaxRewind)}
		}
		from.Rewind = int(*r.Rewind)
	}
	if r.Offset == nil && r.Epoch != "" {
		return from, &Error{"bad_offset", NoOffset}
	}
	if r.Offset != nil {
		if *r.Offset > 0 && r.Epoch == "" {
			return from, &Error{"bad_offset", NoEpoch}
		}
		from = Start{After: &Position{Topic: r.Topic, Epoch: r.Epoch, Offset: *r.Offset}}
	}
	return from, nil
}

func (r *Command) unsubscribe(c Client) error {
	if err := checkTopic(r.Topic); err != nil {
		return err
	}
	c.Unsubscribe(r.Topic)
	c.Send(Object{Type: "unsubscribe", Topic: r.Topic})
	return nil
}

func (r *Command) refresh(c Client) error {
	is, err := c.Refresh(r.Token)
	if err != nil {
		return err
	}
	for _, topic := range is.Ended {
		c.Send(Object{Type: "unsubscribe", Topic: topic})
	}
	c.Send(Object{Type: "refresh", Expires: is.Expires, ExpiresIn: is.ExpiresIn, Ticket: is.Ticket})
	return nil
}

func checkTopic(topic string) error {
	if err := registry.CheckName(topic); err != nil {
		return &Error{"bad_name", "topic: " + err.Error()}
	}
	return nil
}
