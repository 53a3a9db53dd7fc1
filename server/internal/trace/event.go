package trace

import (
	"slices"
	"unicode/utf8"

	"fanfare/server/node"
)

// Add adds an event to traces.
func Add(to []*Log, e node.TraceEvent) {
	for _, l := range to {
		l.Add(e)
	}
}

// AddMessage adds the event of a message to traces, with a copy of its payload to those that have
// payloads. text says that it is a text message.
func AddMessage(to []*Log, e node.TraceEvent, payload []byte, text bool) {
	with := e
	if slices.ContainsFunc(to, func(l *Log) bool { return l.Payload }) {
		setPayload(&with, payload, text)
	}
	for _, l := range to {
		if l.Payload {
			l.Add(with)
		} else {
			l.Add(e)
		}
	}
}

// setPayload copies the payload of a message to its event.
func setPayload(e *node.TraceEvent, payload []byte, isText bool) {
	b := payload
	if e.Cut = len(b) > MaxPayload; e.Cut {
		b = b[:MaxPayload]
		for isText && len(b) > 0 && !utf8.Valid(b[max(len(b)-utf8.UTFMax, 0):]) && !utf8.RuneStart(payload[len(b)]) {
			b = b[:len(b)-1] // not a part of a character
		}
	}
	if isText && utf8.Valid(b) {
		text := string(b)
		e.Text = &text
		return
	}
	e.Base64 = slices.Clone(b)
}
