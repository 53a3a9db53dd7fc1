package webhook

import (
	"encoding/binary"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/server"
)

// document is an event as a webhook receives it. docs/webhooks.md describes it.
type document struct {
	ID         string      `json:"id"`
	Type       string      `json:"type"`
	Time       time.Time   `json:"time"`
	Node       string      `json:"node"`
	User       string      `json:"user,omitzero"`
	Topic      string      `json:"topic,omitzero"`
	Session    string      `json:"session,omitzero"`
	Endpoint   string      `json:"endpoint,omitzero"`
	Protocol   string      `json:"protocol,omitzero"`
	RemoteAddr string      `json:"remote_addr,omitzero"`
	Topics     *[]string   `json:"topics,omitzero"`
	Opened     time.Time   `json:"opened,omitzero"`
	Duration   *float64    `json:"duration,omitzero"` // seconds
	Code       server.Code `json:"code,omitzero"`
	Reason     *string     `json:"reason,omitzero"`
	LastSeen   time.Time   `json:"last_seen,omitzero"`
	Queued     int         `json:"queued_bytes,omitzero"`
	Text       *string     `json:"text,omitzero"`
	Base64     []byte      `json:"base64,omitzero"`
	Message    string      `json:"message,omitzero"`
	Epoch      string      `json:"epoch,omitzero"`
	Offset     uint64      `json:"offset,omitzero"`
	Deleted    bool        `json:"deleted,omitzero"`
}

// encode returns an event as JSON.
func encode(e *server.Event, id, node string) []byte {
	d := document{ID: id, Type: e.Kind.String(), Time: stamp(e.Time), Node: node, User: e.User, Topic: e.Topic,
		Session: e.Session, Endpoint: e.Endpoint, Protocol: e.Protocol, RemoteAddr: e.RemoteAddr}
	switch e.Kind {
	case server.SessionOpened:
		d.Topics = listOf(e.Topics)
	case server.SessionClosed:
		d.Topics, d.Opened = listOf(e.Topics), stamp(e.Opened)
		seconds := max(e.Time.Sub(e.Opened), 0).Round(time.Millisecond).Seconds()
		d.Duration, d.Code, d.Reason = &seconds, e.Code, &e.Reason
	case server.SessionSlow:
		d.Queued = e.Queued
	case server.UserOffline:
		d.LastSeen = stamp(e.Opened) // see presence
	case server.MessageReceived:
		if text := string(e.Payload); e.Op == server.Text && utf8.ValidString(text) {
			d.Text = &text
		} else if d.Base64 = e.Payload; d.Base64 == nil {
			d.Base64 = []byte{}
		}
	case server.MessageUnread:
		if u := e.Unread; u != nil {
			d.Message, d.Epoch, d.Offset, d.Deleted = u.Message, u.Epoch, u.Offset, u.Deleted
		}
	}
	b, err := json.Marshal(&d, jsontext.AllowInvalidUTF8(true)) // a program may close with any reason
	if err != nil {
		panic("BUG: webhook: event: " + err.Error())
	}
	return b
}

// stamp returns a time as it is in documents: UTC, in milliseconds.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func listOf(names []string) *[]string {
	if names == nil {
		names = []string{}
	}
	return &names
}

// batch is a number of events that are stored together.
type batch struct {
	count   int64     // of events
	dropped int64     // events that were dropped before these
	oldest  time.Time // of the events
	events  []byte    // documents, separated by commas
}

const (
	// maxCount and maxSize bound a batch. A longer event goes alone.
	maxCount = 100
	maxSize  = 64 << 10
)

// fits reports whether two batches may become one.
func (b *batch) fits(more *batch) bool {
	return b.count+more.count <= maxCount && len(b.events)+len(more.events) < maxSize
}

// add appends another batch.
func (b *batch) add(more *batch) {
	if b.count > 0 && more.count > 0 {
		b.events = append(b.events, ',')
	}
	if b.count == 0 || more.count > 0 && more.oldest.Before(b.oldest) {
		b.oldest = more.oldest
	}
	b.events = append(b.events, more.events...)
	b.count += more.count
	b.dropped += more.dropped
}

// encode returns the batch as it is stored.
func (b *batch) encode() []byte {
	out := binary.AppendUvarint(nil, 1) // the version
	out = binary.AppendUvarint(out, uint64(b.count))
	out = binary.AppendUvarint(out, uint64(b.dropped))
	out = binary.AppendVarint(out, b.oldest.UnixMilli())
	return append(out, b.events...)
}

var errMalformed = errors.New("webhook: malformed batch in the queue")

// decodeBatch is the inverse of encode.
func decodeBatch(in []byte) (b batch, err error) {
	var numbers [3]uint64
	for i := range numbers {
		v, n := binary.Uvarint(in)
		if n <= 0 {
			return b, errMalformed
		}
		numbers[i], in = v, in[n:]
	}
	oldest, n := binary.Varint(in)
	if n <= 0 || numbers[0] != 1 {
		return b, errMalformed
	}
	return batch{count: int64(numbers[1]), dropped: int64(numbers[2]), oldest: time.UnixMilli(oldest), events: in[n:]}, nil
}

// body returns the request for a batch: one message of Standard Webhooks.
func (b *batch) body(node string, now time.Time) []byte {
	head, err := json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Node      string    `json:"node"`
		Dropped   int64     `json:"dropped"`
	}{"events", stamp(now), node, b.dropped})
	if err != nil {
		panic("BUG: webhook: batch: " + err.Error())
	}
	out := append(head[:len(head)-1], `,"data":{"events":[`...)
	out = append(out, b.events...)
	return append(out, "]}}"...)
}
