package where

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxText bounds an expression, in bytes.
	MaxText = 1024
	// MaxTerms bounds the comparisons, signs and words of an expression, and the strings after
	// in.
	MaxTerms = 64
	// MaxDepth bounds how deeply parentheses and ! are nested.
	MaxDepth = 16
)

// Error is what is wrong with an expression.
type Error struct {
	Column int // of the character where it was noticed, from 1
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Text) }

// Parse reads an expression. An error is an *Error.
func Parse(text string) (*Expr, error) {
	if len(text) > MaxText {
		return nil, &Error{1, fmt.Sprintf("the expression has %d bytes: want at most %d", len(text), MaxText)}
	}
	if !utf8.ValidString(text) {
		return nil, &Error{1, "the expression is not UTF-8"}
	}
	p := &parser{text: text}
	root := p.or()
	if p.skip(); p.err == nil && p.at < len(text) {
		p.fail("unexpected %s: want && or || or the end", p.found())
	}
	if p.err != nil {
		return nil, p.err
	}
	return &Expr{text, root}, nil
}

// parser is a recursive descent over the grammar in doc.go. Each step consumes something or
// fails; after a failure it consumes nothing.
type parser struct {
	text  string
	at    int
	terms int
	depth int
	err   *Error
}

func (p *parser) fail(format string, args ...any) *node {
	if p.err == nil {
		p.err = &Error{1 + utf8.RuneCountInString(p.text[:p.at]), fmt.Sprintf(format, args...)}
	}
	return nil
}

// found names what is next, for an error.
func (p *parser) found() string {
	if p.at == len(p.text) {
		return "end"
	}
	if n := nameLength(p.text[p.at:]); n > 0 {
		return fmt.Sprintf("%.40q", p.text[p.at:p.at+n])
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return fmt.Sprintf("%q", r)
}

func (p *parser) skip() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take consumes a token if it is next.
func (p *parser) take(token string) bool {
	p.skip()
	if p.err != nil || !strings.HasPrefix(p.text[p.at:], token) {
		return false
	}
	if n := nameLength(token); n > 0 && nameLength(p.text[p.at:]) != n {
		return false // the beginning of a longer name
	}
	p.at += len(token)
	return true
}

// count bounds the parts of the expression.
func (p *parser) count() bool {
	if p.terms++; p.terms > MaxTerms {
		p.fail("the expression has more than %d parts", MaxTerms)
	}
	return p.err == nil
}

func (p *parser) or() *node {
	n := p.and()
	for p.take("||") && p.count() {
		n = &node{op: opOr, left: n, right: p.and()}
	}
	return n
}

func (p *parser) and() *node {
	n := p.term()
	for p.take("&&") && p.count() {
		n = &node{op: opAnd, left: n, right: p.term()}
	}
	return n
}

func (p *parser) term() *node {
	if p.depth++; p.depth > MaxDepth {
		return p.fail("more than %d parentheses or ! inside each other", MaxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case !p.count():
		return nil
	case p.take("!"):
		return &node{op: opNot, left: p.term()}
	case p.take("("):
		n := p.or()
		if !p.take(")") {
			return p.fail("unexpected %s: want && or || or )", p.found())
		}
		return n
	case p.take("has"):
		return &node{op: opHas, label: p.label("the name of a label")}
	}
	n := &node{label: p.label("a label, has, ! or (")}
	for _, o := range comparisons {
		if !p.take(o.token) {
			continue
		}
		if n.op = o.op; o.op == opIn {
			n.values = p.list()
			return n
		}
		p.skip()
		at := p.at
		value := p.string()
		if o.op >= opLess {
			numbers, ok := version(value)
			if !ok {
				p.at = at
				return p.fail("%.40q is not a version: %s compares numbers that are joined by dots", value, o.token)
			}
			value = numbers
		}
		n.values = []string{value}
		return n
	}
	if p.take("=") {
		p.at--
		return p.fail("unexpected =: want ==")
	}
	return p.fail("unexpected %s: want ==, !=, <, <=, >, >= or in after the label %s", p.found(), n.label)
}

// comparisons are in an order in which no token is the beginning of a later one.
var comparisons = []struct {
	token string
	op    op
}{
	{"==", opEqual}, {"!=", opNotEqual}, {"<=", opLessEqual}, {">=", opGreaterEqual}, {"<", opLess}, {">", opGreater}, {"in", opIn},
}

func (p *parser) label(want string) string {
	p.skip()
	if p.err != nil {
		return ""
	}
	name := p.text[p.at : p.at+nameLength(p.text[p.at:])]
	switch {
	case name == "" || name == "has" || name == "in":
		p.fail("unexpected %s: want %s", p.found(), want)
	case len(name) > MaxName:
		p.fail("the label %.40q… has %d bytes: want at most %d", name, len(name), MaxName)
	}
	p.at += len(name)
	return name
}

// list reads the strings after in.
func (p *parser) list() (values []string) {
	if !p.take("(") {
		p.fail("unexpected %s: want ( and a list of strings after in", p.found())
	}
	for p.err == nil && p.count() {
		values = append(values, p.string())
		if p.take(")") {
			break
		}
		if !p.take(",") {
			p.fail("unexpected %s: want , or )", p.found())
		}
	}
	return values
}

func (p *parser) string() string {
	p.skip()
	if p.err != nil {
		return ""
	}
	if p.at == len(p.text) || p.text[p.at] != '"' && p.text[p.at] != '\'' {
		p.fail("unexpected %s: want a string in quotes", p.found())
		return ""
	}
	var b strings.Builder
	quote := p.text[p.at]
	for i := p.at + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == quote:
			p.at = i + 1
			return b.String()
		case c == '\\':
			if i++; i == len(p.text) || strings.IndexByte(`"'\`, p.text[i]) < 0 {
				p.at = i - 1
				p.fail(`want \", \' or \\: a \ precedes a quote or another \`)
				return ""
			}
			b.WriteByte(p.text[i])
		default:
			b.WriteByte(c)
		}
	}
	p.fail("the string does not end: want another %c", quote)
	return ""
}
