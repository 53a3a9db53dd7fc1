package operate

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/internal/trace"
	"fanfare/server/node"
	"fanfare/server/where"
)

// Kind says what a Question asks for.
type Kind string

// The kinds, with the fields of Question that they use.
const (
	Users        Kind = "users"         // Prefix, After, Limit; Answer.Users
	Topics       Kind = "topics"        // Prefix, After, Limit; Answer.Users, whose names are those of topics
	Sessions     Kind = "sessions"      // User, Topic, Dialect, Node, After (a SessionKey), Limit; Answer.Sessions
	CloseSession Kind = "close_session" // ID of the session, Code, Reason; Answer.Count
	Close        Kind = "close"         // ID, Target without User, Over or Rate, Code, Reason; Answer.Closes
	Closes       Kind = "closes"        // ID, empty: all; Answer.Closes
	CancelClose  Kind = "cancel_close"  // ID; Answer.Closes
	Trace        Kind = "trace"         // ID, User, Payload, Seen; Answer.Trace: starts the trace, or keeps it
	EndTrace     Kind = "end_trace"     // ID
)

// Target says which sessions a question concerns.
type Target struct {
	User  string   `json:"user,omitzero"`
	Users []string `json:"users,omitzero"`
	Topic string   `json:"topic,omitzero"`
	All   bool     `json:"all,omitzero"` // Users and Topic are empty
	Node  string   `json:"node,omitzero"`
	Where string   `json:"where,omitzero"`
}

// Question is what one node asks of the others.
type Question struct {
	Kind    Kind   `json:"kind"`
	Prefix  string `json:"prefix,omitzero"`
	After   string `json:"after,omitzero"`
	Limit   int    `json:"limit,omitzero"`
	Dialect string `json:"dialect,omitzero"`
	ID      string `json:"id,omitzero"`
	Target
	Code   node.Code `json:"code,omitzero"`
	Reason string    `json:"reason,omitzero"`
	Over   int64     `json:"over,omitzero"` // nanoseconds
	Rate   int       `json:"rate,omitzero"` // sessions per second, on each node
	// Payload says that events of a trace have payloads, and Seen is trace.Batch.Last of the
	// batch before, by trace.Batch.Source.
	Payload bool              `json:"payload,omitzero"`
	Seen    map[string]uint64 `json:"seen,omitzero"`
}

// Answer is what one process answers.
type Answer struct {
	Count    int                   `json:"count,omitzero"`
	Users    []node.UserSessions   `json:"users,omitzero"`
	Sessions []node.SessionDetails `json:"sessions,omitzero"`
	Closes   []node.PacedClose     `json:"closes,omitzero"`
	Trace    *trace.Batch          `json:"trace,omitzero"`
}

const (
	// maxQuestion bounds a question in JSON: MaxUsers names of 256 bytes, each of which can
	// take six in JSON, and an expression.
	maxQuestion = 256 << 10
	// MaxUsers bounds Target.Users.
	MaxUsers = 100
	// maxText bounds IDs, names of nodes and of dialects, and keys of sessions.
	maxText = 1024
	// MaxRate bounds Question.Rate.
	MaxRate = 1_000_000
)

// Encode returns q in JSON.
func (q *Question) Encode() []byte {
	b, err := json.Marshal(q)
	if err != nil {
		panic("BUG: operate: a question that Check accepts has no JSON: " + err.Error())
	}
	return b
}

// Parse returns the question in b, and what is wrong with it.
func Parse(b []byte) (*Question, error) {
	if len(b) > maxQuestion {
		return nil, fmt.Errorf("a question of %d bytes: want at most %d", len(b), maxQuestion)
	}
	q := new(Question)
	if err := json.Unmarshal(b, q, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	return q, q.Check()
}

// Encode returns a in JSON.
func (a *Answer) Encode() ([]byte, error) { return json.Marshal(a) }

// ParseAnswer is the reverse of Answer.Encode. Members that a later version adds are ignored.
func ParseAnswer(b []byte) (a Answer, err error) {
	err = json.Unmarshal(b, &a)
	return a, err
}

// Changes reports whether a question of this kind does more than to ask.
func (k Kind) Changes() bool {
	switch k {
	case CloseSession, Close, CancelClose, EndTrace:
		return true
	}
	return false
}

// Check returns what is wrong with a question.
func (q *Question) Check() error {
	for _, text := range []string{q.Prefix, q.After, q.Dialect, q.ID, q.Node, q.Reason} {
		if len(text) > maxText || !utf8.ValidString(text) {
			return fmt.Errorf("%.40q of %d bytes: want UTF-8 of at most %d bytes", text, len(text), maxText)
		}
	}
	names := q.Users
	for _, name := range []string{q.User, q.Topic} {
		if name != "" {
			names = append(slices.Clip(names), name)
		}
	}
	for _, name := range names {
		if err := registry.CheckName(name); err != nil {
			return err
		}
	}
	switch q.Kind {
	case Users, Topics:
		return q.checkPage()
	case Sessions:
		if q.User == "" {
			return fmt.Errorf("sessions of no user")
		}
		return q.checkPage()
	case CloseSession:
		if _, _, err := node.CutSessionID(q.ID); err != nil {
			return err
		}
		return q.checkClose()
	case Close:
		if err := q.checkTarget(); err != nil {
			return err
		}
		if err := node.CheckPacedID(q.ID); err != nil {
			return err
		}
		return q.checkClose()
	case Closes:
		if q.ID == "" {
			return nil
		}
		return node.CheckPacedID(q.ID)
	case CancelClose:
		return node.CheckPacedID(q.ID)
	case Trace:
		if q.User == "" {
			return fmt.Errorf("a trace of no user")
		}
		return trace.CheckID(q.ID)
	case EndTrace:
		return trace.CheckID(q.ID)
	}
	return fmt.Errorf("unknown kind %.40q of a question", string(q.Kind))
}

func (q *Question) checkPage() error {
	if q.Limit < 1 || q.Limit > node.MaxPage+1 {
		return fmt.Errorf("limit is %d: want 1 to %d", q.Limit, node.MaxPage+1)
	}
	return nil
}

func (q *Question) checkClose() error {
	if !frame.CloseCodeAllowed(q.Code) {
		return fmt.Errorf("invalid close code %d", q.Code)
	}
	if len(q.Reason) > frame.MaxReason {
		return fmt.Errorf("reason has %d bytes: want at most %d", len(q.Reason), frame.MaxReason)
	}
	return nil
}

// checkTarget checks which sessions a paced close concerns, and its pace.
func (q *Question) checkTarget() error {
	named := 0
	for _, set := range []bool{len(q.Users) > 0, q.Topic != "", q.All} {
		if set {
			named++
		}
	}
	over := time.Duration(q.Over)
	switch {
	case named > 1:
		return node.AudienceErrorf("users, topic and all exclude each other")
	case named == 0 && q.Node == "":
		return node.AudienceErrorf("no sessions are named: want users, topic, all or node")
	case len(q.Users) > MaxUsers:
		return node.AudienceErrorf("%d users are named: want at most %d", len(q.Users), MaxUsers)
	case (q.Over == 0) == (q.Rate == 0):
		return node.AudienceErrorf("want either a time (over) or a rate")
	case q.Over != 0 && (over < node.MinPace || over > node.MaxPace):
		return node.AudienceErrorf("over is %v: want %v to %v", over, node.MinPace, node.MaxPace)
	case q.Rate < 0 || q.Rate > MaxRate:
		return node.AudienceErrorf("rate is %d: want 1 to %d sessions per second", q.Rate, MaxRate)
	}
	if q.Where != "" {
		if _, err := where.Parse(q.Where); err != nil {
			return node.AudienceErrorf("where: %s", err)
		}
	}
	return nil
}
