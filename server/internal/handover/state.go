package handover

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/replay"
	"fanfare/server/internal/secure"
	"fanfare/server/node"
	"fanfare/server/where"
)

// State is a session at rest, as one process describes it to another. A field that is
// added must mean nothing when it is zero: other versions neither send nor know it.
type State struct {
	Conn  netpoll.State `json:"conn"`
	Phase Phase         `json:"phase"`
	Code  node.Code     `json:"code,omitzero"`

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

	Credential *Credential `json:"credential,omitzero"`

	Data []byte `json:"data,omitzero"` // of Hooks.OnHandOver

	Source     netip.Addr     `json:"source,omitzero"`
	Proxied    bool           `json:"proxied,omitzero"`
	Client     netip.AddrPort `json:"client,omitzero"`
	ClientCode bool           `json:"client_code,omitzero"`
	Reason     string         `json:"reason,omitzero"`
	Discarded  int            `json:"discarded,omitzero"`
	Window     uint8          `json:"window,omitzero"`

	Request *Request            `json:"request,omitzero"`
	Decoder *frame.DecoderState `json:"decoder,omitzero"`
	TLS     *secure.State       `json:"tls,omitzero"`
	Replay  *replay.State       `json:"replay,omitzero"`
	Held    []HeldMessage       `json:"held,omitzero"`
	Meter   *limit.MeterState   `json:"meter,omitzero"`
}

// Phase is the phase of a session that may move. It is encoded by its name, because versions
// may have further phases.
type Phase uint8

// The phases. The zero value is none.
const (
	ReadingProxyHeader Phase = 1 + iota
	ReadingRequest
	Open
	Closing
	Lingering
)

var phaseNames = [...]string{"", "proxy header", "request", "open", "closing", "lingering"}

// MarshalText returns the name.
func (p Phase) MarshalText() ([]byte, error) { return []byte(phaseNames[p]), nil }

// UnmarshalText is the reverse of MarshalText.
func (p *Phase) UnmarshalText(text []byte) error {
	i := slices.Index(phaseNames[1:], string(text))
	if i < 0 {
		return fmt.Errorf("handover: session in the unknown phase %q", text)
	}
	*p = Phase(i + 1)
	return nil
}

// Request is a handshake whose request has not ended.
type Request struct {
	Proxy   []byte `json:"proxy,omitzero"` // a part of the PROXY protocol header
	Head    []byte `json:"head"`
	Arrived uint32 `json:"arrived"`
}

// HeldMessage is a live message that waits for older stored ones.
type HeldMessage struct {
	Op      node.Op        `json:"op"`
	Payload []byte         `json:"payload"`
	Policy  netpoll.Policy `json:"policy,omitzero"`

	Conflate string        `json:"conflate,omitzero"` // see server.MessageOptions
	Interval node.Interval `json:"interval,omitzero"`
	Receipt  string        `json:"receipt,omitzero"` // its ID
}

// Credential is what a session keeps of the proof of its identity, for revocations.
type Credential struct {
	Token  string  `json:"token,omitzero"`
	Issued float64 `json:"issued"` // in seconds since 1970
}

// Bounds are those of the server, for Check.
type Bounds struct {
	Names     int // of topics in a list
	Discarded int // bytes that come while the session lingers
}

// Check returns an error if no server has exported the state.
func (st *State) Check(b Bounds) error {
	opened, p := st.Opened != 0, st.Phase
	switch {
	case p == 0:
		return errors.New("handover: session without a phase")
	case opened != (st.Path != ""), !opened && (p == Open || st.User != "" || st.TLS != nil || st.Replay != nil || st.Window != 0):
		return errors.New("handover: inconsistent state of a session that was not opened")
	case st.Window > 15, st.Replay != nil && (st.User == "" || p != Open), st.Request != nil && p > ReadingRequest:
		return errors.New("handover: inconsistent state of a session")
	case st.Proxied && !st.Source.IsValid():
		return errors.New("handover: a session that came through a proxy has no address")
	case st.Discarded < 0 || st.Discarded > b.Discarded:
		return fmt.Errorf("handover: session with %d discarded bytes: want 0 to %d", st.Discarded, b.Discarded)
	case max(len(st.MaySubscribe), len(st.MayPublish), len(st.MayRead)) > b.Names:
		return fmt.Errorf("handover: session with more than %d names of topics in a list", b.Names)
	}
	if _, err := where.MakeLabels(st.Labels); err != nil {
		return fmt.Errorf("handover: session with wrong labels: %w", err)
	}
	names := slices.Concat(st.Topics, st.MaySubscribe, st.MayPublish, st.MayRead)
	if st.User != "" {
		names = append(names, st.User)
	}
	for _, name := range names {
		if err := registry.CheckName(name); err != nil {
			return fmt.Errorf("handover: %w", err)
		}
	}
	return nil
}
