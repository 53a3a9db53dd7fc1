package where

import "slices"

// Expr is an expression that was parsed. It is immutable, and safe for concurrent use.
type Expr struct {
	text string
	root *node
}

// String returns the expression as it was written.
func (e *Expr) String() string {
	if e == nil {
		return ""
	}
	return e.text
}

// MarshalText returns the expression as it was written.
func (e *Expr) MarshalText() ([]byte, error) { return []byte(e.text), nil }

// UnmarshalText parses an expression.
func (e *Expr) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*e = *parsed
	}
	return err
}

type op uint8

const (
	opOr op = iota
	opAnd
	opNot // left
	opHas
	opIn
	opEqual // values has one
	opNotEqual
	opLess // values has what version returns
	opLessEqual
	opGreater
	opGreaterEqual
)

// node is a part of an expression.
type node struct {
	op          op
	left, right *node
	label       string
	values      []string
}

// Match reports whether labels meet the expression.
func (e *Expr) Match(l Labels) bool { return e.root.match(l) }

func (n *node) match(l Labels) bool {
	switch n.op {
	case opOr:
		return n.left.match(l) || n.right.match(l)
	case opAnd:
		return n.left.match(l) && n.right.match(l)
	case opNot:
		return !n.left.match(l)
	}
	value, has := l.get(n.label)
	switch n.op {
	case opHas:
		return has
	case opIn:
		return has && slices.Contains(n.values, value)
	case opEqual:
		return has && value == n.values[0]
	case opNotEqual:
		return !has || value != n.values[0]
	}
	numbers, ok := version(value)
	if !has || !ok {
		return false
	}
	c := compareVersions(numbers, n.values[0])
	switch n.op {
	case opLess:
		return c < 0
	case opLessEqual:
		return c <= 0
	case opGreater:
		return c > 0
	}
	return c >= 0
}
