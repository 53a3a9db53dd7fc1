package node

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MaxConflate bounds Command.Conflate, in bytes, as names of users and topics.
	MaxConflate = 256
	// MinInterval and MaxInterval bound Command.Interval. The clock of a server has a
	// resolution of 100 ms.
	MinInterval = 100 * time.Millisecond
	MaxInterval = time.Hour
)

// Interval is a time.Duration that is encoded as a number, of nanoseconds.
type Interval int64

// CheckConflate returns what is wrong with a name under which messages replace older ones.
func CheckConflate(name string) error {
	if len(name) > MaxConflate || !utf8.ValidString(name) {
		return fmt.Errorf("name %.40q of %d bytes: want UTF-8 of at most %d bytes", name, len(name), MaxConflate)
	}
	return nil
}

// CheckInterval returns what is wrong with the time between messages with a name; 0 is none.
func CheckInterval(interval time.Duration, name string) error {
	switch {
	case interval == 0:
		return nil
	case interval < MinInterval || interval > MaxInterval:
		return fmt.Errorf("interval %v: want %v to 1h", interval, MinInterval)
	case name == "":
		return fmt.Errorf("interval %v of messages without a name: name what they are about", interval)
	}
	return nil
}

var errRate = errors.New("want 1/h to 10/s, such as 2/s or 12/m")

// ParseRate reads a rate, such as 2/s, 12/m or 1/h, and returns the time between messages.
func ParseRate(text string) (interval time.Duration, err error) {
	digits, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || digits[0] == '0' {
		return 0, errRate
	}
	switch unit {
	case "s":
		interval = time.Second
	case "m":
		interval = time.Minute
	case "h":
		interval = time.Hour
	default:
		return 0, errRate
	}
	if interval /= time.Duration(n); interval < MinInterval {
		return 0, errRate
	}
	return interval, nil
}

// checkOptions checks the options of the message that a command carries.
func checkOptions(c *Command) error {
	if c.Verb != VerbDeliver && c.Verb != VerbPaced && (c.Conflate+c.Receipt != "" || c.Interval != 0) {
		return fmt.Errorf("verb %d with options of its message", c.Verb)
	}
	if c.Receipt != "" {
		if err := CheckReceiptID(c.Receipt); err != nil {
			return err
		}
	}
	if err := CheckConflate(c.Conflate); err != nil {
		return err
	}
	return CheckInterval(time.Duration(c.Interval), c.Conflate)
}
