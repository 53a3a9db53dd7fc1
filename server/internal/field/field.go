// Package field describes errors in configurations, so that a program can name the
// setting in words of its own: a flag instead of a field.
package field

import "fmt"

// Error is an error in one field of a Config.
type Error struct {
	field   string
	problem error
}

// Errorf returns an error in a field. Its text is the field's name followed by the
// formatted problem, as in "PingInterval is 5ms: want at least 100ms".
func Errorf(field, problem string, args ...any) error {
	return &Error{field, fmt.Errorf(problem, args...)}
}

// Field is the name of the field, as in "PingInterval" or "Rate.Messages".
func (e *Error) Field() string { return e.field }

func (e *Error) Error() string { return e.field + " " + e.problem.Error() }
func (e *Error) Unwrap() error { return e.problem }
