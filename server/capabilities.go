package server

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unique"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/registry"
	"fanfare/server/internal/limit"
)

// SessionLimits are limits of one session, below those of the server. Zero: those of the
// server.
type SessionLimits struct {
	// Messages per second, as Rate.Messages.
	Messages int `json:"messages"`
	// Topics that the session subscribes to at a time, as Config.TopicsPerSession.
	Topics int `json:"topics"`
}

// UnmarshalJSONFrom reads {"messages":10,"topics":5} strictly: an unknown member, and a
// number below 1, is an error, since a limit that is misspelled must not be none.
func (l *SessionLimits) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != '{' {
		v, err := in.ReadValue()
		if err != nil {
			return err
		}
		return &json.SemanticError{JSONKind: v.Kind(), Err: errLimits}
	}
	var read struct {
		Messages *int `json:"messages"`
		Topics   *int `json:"topics"`
	}
	if err := json.UnmarshalDecode(in, &read, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	for _, f := range []struct{ from, to *int }{{read.Messages, &l.Messages}, {read.Topics, &l.Topics}} {
		if f.from == nil {
			continue
		}
		if *f.from < 1 || *f.from > math.MaxInt32 {
			return &json.SemanticError{JSONKind: '0', Err: errLimits}
		}
		*f.to = *f.from
	}
	return nil
}

var errLimits = fmt.Errorf("want an object with the numbers messages and topics, from 1 to %d", math.MaxInt32)

// capabilities are what the client of a session may do by itself. The names of a list are
// joined by line feeds, which no name contains. Sessions with equal ones share them.
type capabilities struct{ subscribe, publish, presence string }

// share returns capabilities for sessions to share; the zero Handle if there are none.
func share(subscribe, publish, presence []string) (may unique.Handle[capabilities]) {
	if len(subscribe)+len(publish)+len(presence) == 0 {
		return may
	}
	return unique.Make(capabilities{strings.Join(subscribe, "\n"), strings.Join(publish, "\n"), strings.Join(presence, "\n")})
}

// lists is the reverse of share.
func (c capabilities) lists() (subscribe, publish, presence []string) {
	return split(c.subscribe), split(c.publish), split(c.presence)
}

// split returns the names of a joined list.
func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, "\n")
}

// maxCapabilities bounds each list of an Identity.
const maxCapabilities = 1000

// checkCapabilities checks the lists, labels and limits of an identity.
func (id *Identity) checkCapabilities() error {
	for _, l := range []struct {
		name string
		list []string
	}{{"subscribe", id.MaySubscribe}, {"publish", id.MayPublish}, {"presence", id.MayReadPresence}} {
		if len(l.list) > maxCapabilities {
			return Reject(http.StatusBadRequest, "more than "+strconv.Itoa(maxCapabilities)+" names of topics to "+l.name)
		}
		for _, name := range l.list {
			if err := registry.CheckName(name); err != nil {
				return Reject(http.StatusBadRequest, l.name+": "+err.Error())
			}
		}
	}
	if err := id.checkLabels(); err != nil {
		return err
	}
	if id.Limits.Messages < 0 || id.Limits.Topics < 0 {
		return fmt.Errorf("server: Identity.Limits is %+v: want numbers from 1, or 0 for the limits of the server", id.Limits)
	}
	return nil
}

// capabilities returns what the client may do; false: nothing.
func (s *Session) capabilities() (c capabilities, ok bool) {
	x := s.ext.Load()
	if x == nil {
		return c, false
	}
	x.mu.Lock()
	may := x.may
	x.mu.Unlock()
	if may == (unique.Handle[capabilities]{}) {
		return c, false
	}
	return may.Value(), true
}

// MaySubscribe reports whether the session's client may subscribe to a topic of its
// own accord: Identity.MaySubscribe names it.
func (s *Session) MaySubscribe(topic string) bool {
	c, ok := s.capabilities()
	return ok && coveredBy(c.subscribe, topic)
}

// MayPublish reports whether the session's client may publish to a topic:
// Identity.MayPublish names it. Hooks and dialects that publish for clients ask.
func (s *Session) MayPublish(topic string) bool {
	c, ok := s.capabilities()
	return ok && coveredBy(c.publish, topic)
}

// MayReadPresence reports whether the session's client may learn who subscribes to a topic:
// Identity.MayReadPresence names it. Hooks and dialects that tell clients ask.
func (s *Session) MayReadPresence(topic string) bool {
	c, ok := s.capabilities()
	return ok && coveredBy(c.presence, topic)
}

// coveredBy is Covers for a joined list.
func coveredBy(list, topic string) bool {
	for t := range strings.SplitSeq(list, "\n") {
		if t != "" && covers(t, topic) {
			return true
		}
	}
	return false
}

// rates returns the limits of a session that is metered, see Endpoint.rates.
func (s *Session) rates(ep *endpoint) limit.Rates {
	r := ep.rates()
	x := s.ext.Load()
	if x == nil {
		return r
	}
	most := int64(x.maxMessages.Load())
	switch {
	case most == 0:
	case ep.rate.Load().Unlimited:
		return limit.Rates{Messages: most, Bytes: limit.MaxRate, AtOnce: limit.MaxRate}
	default:
		r.Messages = min(r.Messages, most)
	}
	return r
}

// ownRate reports whether the session has a rate of its own.
func (s *Session) ownRate() bool {
	x := s.ext.Load()
	return x != nil && x.maxMessages.Load() > 0
}

// join subscribes the session to a topic in the registry, within its limit.
func (s *Session) join(topic string) (added bool, err error) {
	most := 0
	if x := s.ext.Load(); x != nil {
		most = int(x.maxTopics.Load())
	}
	return s.srv().users.SubscribeWithin(s, topic, most)
}
