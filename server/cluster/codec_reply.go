package cluster

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"fanfare/server"
	"fanfare/server/node"
)

// maxError bounds the text of Reply.Error; what is longer is cut.
const maxError = 1 << 10

// appendReply appends a reply: the count, the error, the sessions, and what only the verbs of later versions have, if
// there is any: paced broadcasts, then users and the description of the node, then a receipt, then data.
func appendReply(b []byte, r *server.Reply) []byte {
	b = binary.AppendUvarint(b, uint64(clamp(r.Count)))
	b = appendString(b, cut(r.Error, maxError))
	b = binary.AppendUvarint(b, uint64(len(r.Sessions)))
	for i := range r.Sessions {
		s := &r.Sessions[i]
		for _, text := range []string{s.ID, s.Node, s.User, s.RemoteAddr, s.Protocol} {
			b = appendString(b, cut(text, maxName))
		}
		b = binary.AppendUvarint(b, uint64(len(s.Topics)))
		for _, topic := range s.Topics {
			b = appendString(b, cut(topic, maxName))
		}
		var opened int64 // 0: the zero time
		if !s.Opened.IsZero() {
			opened = s.Opened.UnixNano()
		}
		b = binary.AppendVarint(b, opened)
		b = binary.AppendUvarint(b, uint64(clamp(s.QueuedBytes)))
	}
	receipt := r.Receipt
	if len(r.Data) > 0 && receipt == nil { // which precedes data
		receipt = new(node.Receipt)
	}
	later := len(r.Users) > 0 || r.About != (node.Description{}) || receipt != nil
	if len(r.Paced) > 0 || later { // the reply to a command that only nodes of a later version send
		b = appendPaced(b, r.Paced)
	}
	if later {
		b = appendPresence(b, r)
	}
	if receipt != nil {
		b = appendReceipt(b, receipt)
	}
	if len(r.Data) > 0 {
		b = appendData(b, r.Data)
	}
	return b
}

func decodeReply(b []byte) (reply server.Reply, err error) {
	r := reader{b: b}
	reply.Count = r.int()
	reply.Error = r.text(maxError)
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		var s server.SessionInfo
		for _, text := range []*string{&s.ID, &s.Node, &s.User, &s.RemoteAddr, &s.Protocol} {
			*text = r.text(maxName)
		}
		s.Topics = r.strings()
		for _, topic := range s.Topics {
			r.failed = r.failed || len(topic) > maxName || !utf8.ValidString(topic)
		}
		if opened := r.varint(); opened != 0 {
			s.Opened = time.Unix(0, opened)
		}
		s.QueuedBytes = r.int()
		reply.Sessions = append(reply.Sessions, s)
	}
	if !r.failed && len(r.b) > 0 {
		reply.Paced = r.paced()
	}
	if !r.failed && len(r.b) > 0 {
		r.presence(&reply)
	}
	if !r.failed && len(r.b) > 0 {
		reply.Receipt = r.receipt()
	}
	if !r.failed && len(r.b) > 0 { // no verb is answered with both
		reply.Receipt, reply.Data = nil, r.data()
		r.failed = r.failed || len(reply.Data) == 0 // which is not sent
	}
	if err := r.end(); err != nil {
		return server.Reply{}, fmt.Errorf("reply: %w", err)
	}
	return reply, nil
}

// clamp fits a count into what decodeReply accepts.
func clamp(n int) int { return min(max(n, 0), math.MaxInt32) }

// int is a number that an int of 32 bits can hold.
func (r *reader) int() int {
	v := r.uvarint()
	if v > math.MaxInt32 {
		r.failed, r.b = true, nil
		return 0
	}
	return int(v)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// text is a string of UTF-8 with a bound.
func (r *reader) text(most int) string {
	s := r.string()
	if len(s) > most || !utf8.ValidString(s) {
		r.failed, r.b = true, nil
		return ""
	}
	return s
}

// cut shortens text to a number of bytes, and makes it UTF-8.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
