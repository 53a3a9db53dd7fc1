// Package field describes errors in configurations, so that a program can name the
// setting in words of its own: a flag instead of a field.
package field

import (
	"errors"
	"fmt"
)

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

// Field returns the name of the field, as in "PingInterval" or "Rate.Messages".
func (e *Error) Field() string { return e.field }

// Problem returns the text that follows the name, as in "is 5ms: want at least 100ms".
func (e *Error) Problem() string { return e.problem.Error() }

func (e *Error) Error() string { return e.field + " " + e.problem.Error() }
func (e *Error) Unwrap() error { return e.problem }

// wrapped is an error whose text contains those of other errors.
type wrapped struct {
	error
	format string
	args   []any
}

// Wrapf is fmt.Errorf for errors that may contain an Error: the result has a method
// Reword.
func Wrapf(format string, args ...any) error {
	return &wrapped{fmt.Errorf(format, args...), format, args}
}

// Reword returns the text of the error, with the texts that words returns in place of
// those of the errors in it.
func (w *wrapped) Reword(words func(error) string) string {
	args := make([]any, len(w.args))
	for i, arg := range w.args {
		if err, ok := arg.(error); ok {
			arg = errors.New(words(err))
		}
		args[i] = arg
	}
	return fmt.Errorf(w.format, args...).Error()
}

// Unwrap returns the errors that the format names with %w.
func (w *wrapped) Unwrap() []error {
	switch e := w.error.(type) { //nolint:errorlint // what fmt.Errorf has returned
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	case interface{ Unwrap() error }:
		return []error{e.Unwrap()}
	}
	return nil
}

// Setting returns what a program calls a field of a Config, for texts that tell an operator
// what to change. name is the program's function; nil: it has none.
func Setting(name func(field string) string, field string) string {
	if name == nil {
		return "Config." + field
	}
	return name(field)
}
