package server

import (
	"fmt"
	"net/netip"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/replay"
	"fanfare/server/internal/secure"
)

// sessionState is a session at rest, as one process describes it to another. A field that is
// added must mean nothing when it is zero: other versions neither send nor know it.
type sessionState struct {
	Conn  netpoll.State `json:"conn"`
	Phase movingPhase   `json:"phase"`
	Code  Code          `json:"code,omitzero"`

	// Of a session that was opened: the path of its endpoint, and the sub-protocol of its
	// dialect.
	Path     string `json:"path,omitzero"`
	Protocol string `json:"protocol,omitzero"`

	// Ticks of the clock that both processes share.
	Opened  uint32 `json:"opened,omitzero"`
	Heard   uint32 `json:"heard,omitzero"`
	Pinged  uint32 `json:"pinged,omitzero"`
	Expires uint32 `json:"expires,omitzero"`

	User         string            `json:"user,omitzero"`
	Topics       []string          `json:"topics,omitzero"`
	MaySubscribe []string          `json:"may_subscribe,omitzero"`
	MayPublish   []string          `json:"may_publish,omitzero"`
	MayRead      []string          `json:"may_read_presence,omitzero"`
	MaxMessages  uint32            `json:"max_messages,omitzero"`
	MaxTopics    uint32            `json:"max_topics,omitzero"`
	Labels       map[string]string `json:"labels,omitzero"`

	Credential *credential `json:"credential,omitzero"`

	Data []byte `json:"data,omitzero"` // of Hooks.OnHandOver

	Source     netip.Addr     `json:"source,omitzero"`
	Proxied    bool           `json:"proxied,omitzero"`
	Client     netip.AddrPort `json:"client,omitzero"`
	ClientCode bool           `json:"client_code,omitzero"`
	Reason     string         `json:"reason,omitzero"`
	Discarded  int            `json:"discarded,omitzero"`
	Window     uint8          `json:"window,omitzero"`

	Request *requestState       `json:"request,omitzero"`
	Decoder *frame.DecoderState `json:"decoder,omitzero"`
	TLS     *secure.State       `json:"tls,omitzero"`
	Replay  *replay.State       `json:"replay,omitzero"`
	Held    []heldMessage       `json:"held,omitzero"`
	Meter   *limit.MeterState   `json:"meter,omitzero"`
}

// movingPhase is a phase by its name, because versions may have further phases.
type movingPhase phase

var movingPhases = map[phase]string{
	readingProxyHeader: "proxy header", readingRequest: "request", open: "open", closing: "closing", lingering: "lingering",
}

// MarshalText returns the name.
func (p movingPhase) MarshalText() ([]byte, error) { return []byte(movingPhases[phase(p)]), nil }

// UnmarshalText is the reverse of MarshalText.
func (p *movingPhase) UnmarshalText(text []byte) error {
	for known, name := range movingPhases {
		if name == string(text) {
			*p = movingPhase(known)
			return nil
		}
	}
	return fmt.Errorf("server: session in the unknown phase %q", text)
}

// requestState is a handshake whose request has not ended.
type requestState struct {
	Proxy   []byte `json:"proxy,omitzero"` // a part of the PROXY protocol header
	Head    []byte `json:"head"`
	Arrived uint32 `json:"arrived"`
}

// heldMessage is a live message that waits for older stored ones.
type heldMessage struct {
	Op      Op             `json:"op"`
	Payload []byte         `json:"payload"`
	Policy  netpoll.Policy `json:"policy,omitzero"`
}

// movable reports whether another process can go on with the session, as far as that is
// known without its read turn.
func (s *Session) movable() bool {
	switch p := s.phase(); {
	case p == deciding || p == identifying || p == admitting || p == ended:
		return false
	case s.conn.NetConn() != nil:
		return false
	}
	return s.state.Load()&identifierBit == 0
}

// exportState returns the state of a session whose connection is frozen. It returns false, and has
// changed nothing, if no other process can go on with it. takeBack is the reverse.
func (s *Session) exportState() (st sessionState, ok bool) {
	state := s.state.Load()
	if !s.movable() {
		return st, false
	}
	x := s.ext.Load()
	st = sessionState{
		Phase: movingPhase(phaseOf(state)), Code: Code(state & codeMask),
		Opened: s.opened, Heard: s.heard.Load(), Pinged: s.pinged.Load(),
		Proxied: state&proxiedBit != 0, ClientCode: state&clientCodeBit != 0, Window: uint8(state >> windowShift & windowMask),
	}
	if s.source != nil {
		st.Source = s.source.Addr()
	}
	// What a TLS handshake has told is needed until the session is open, and is not plain data.
	l := s.layer()
	if l != nil && (!l.Exportable() || phaseOf(state) < open) {
		return st, false
	}
	if x != nil && x.adopted != nil {
		return st, false
	}
	if s.opened != 0 {
		ep := s.endpoint()
		if ep.srv.findEndpoint(ep.Path) != ep {
			return st, false
		}
		st.Path, st.Protocol = ep.Path, s.dialect().Protocol()
		st.User, st.Topics = s.User(), s.Topics()
		if !s.exportData(&st) {
			return st, false
		}
	}
	if x != nil {
		if c, ok := s.capabilities(); ok {
			st.MaySubscribe, st.MayPublish, st.MayRead = c.lists()
		}
		st.Labels = s.Labels()
		st.MaxMessages, st.MaxTopics = x.maxMessages.Load(), x.maxTopics.Load()
		st.Expires, st.Discarded = x.expires.Load(), x.discarded
		st.Credential = x.credential.Load()
		if x.meter != (limit.Meter{}) {
			meter := x.meter.Export()
			st.Meter = &meter
		}
		if g := x.gathering; g != nil {
			st.Request = &requestState{g.proxy, g.head.Bytes(), g.arrived}
		}
		x.mu.Lock()
		st.Reason = x.reason
		if x.client.valid {
			st.Client = x.client.addrPort()
		}
		x.mu.Unlock()
	}
	st.Decoder = s.dec.Export()
	if s.srv().replay != nil && phaseOf(state) == open {
		s.exportReplay(&st)
	}
	if st.Conn, ok = s.conn.Export(); !ok || !sameEnd(state, s.state.Load()) {
		s.takeBack(&st)
		return st, false
	}
	if l != nil {
		// From Export on nothing is sealed: a number that was used twice would betray the key.
		st.TLS = l.Export()
	}
	return st, true
}

// sameEnd reports whether a session has not begun to close between two looks at its state.
func sameEnd(a, b uint32) bool {
	const mask = phaseMask<<phaseShift | codeMask
	return a&mask == b&mask
}

// exportData asks the application for what it knows of the session.
func (s *Session) exportData(st *sessionState) (ok bool) {
	hook := s.endpoint().Hooks.OnHandOver
	if hook == nil {
		return s.Data() == nil
	}
	defer s.logPanic("Hooks.OnHandOver")
	var err error
	st.Data, err = hook(s)
	return err == nil
}

func (s *Session) exportReplay(st *sessionState) {
	var held []replay.Frame
	st.Replay, held = s.srv().replay.Export(receiver{s})
	for _, f := range held {
		live := f.(*liveFrame)
		st.Held = append(st.Held, heldMessage{live.m.Op(), live.m.Payload(), live.policy})
	}
}

// takeBack returns a session whose state was exported to the service of this process.
func (s *Session) takeBack(st *sessionState) {
	s.importReplay(st)
	s.conn.Thaw()
	if s.phase() > open && phase(st.Phase) <= open {
		// It was closed meanwhile, and the close frame could not be sent.
		s.conn.Close()
	}
	s.armAgain()
}

func (s *Session) importReplay(st *sessionState) {
	r := s.srv().replay
	if r == nil {
		s.state.And(^uint32(holdBit))
		return
	}
	var held []replay.Frame
	for _, m := range st.Held {
		held = append(held, &liveFrame{NewMessage(m.Op, m.Payload), m.Policy})
	}
	if err := r.Import(receiver{s}, st.Replay, held); err != nil {
		s.srv().log.Error("state of stored messages is inconsistent", "err", err, "user", s.User())
		s.end(frame.StatusServiceRestart, "service restart", false)
	}
}
