package node

import (
	"fmt"
	"unicode/utf8"
)

// MaxConflate bounds Command.Conflate, in bytes, as names of users and topics.
const MaxConflate = 256

// CheckConflate returns what is wrong with a name under which messages replace older ones.
func CheckConflate(name string) error {
	if len(name) > MaxConflate || !utf8.ValidString(name) {
		return fmt.Errorf("name %.40q of %d bytes: want UTF-8 of at most %d bytes", name, len(name), MaxConflate)
	}
	return nil
}

// checkOptions checks the options of the message that a command carries.
func checkOptions(c *Command) error {
	if c.Verb != VerbDeliver && c.Verb != VerbPaced && c.Conflate+c.Receipt != "" {
		return fmt.Errorf("verb %d with options of its message", c.Verb)
	}
	if c.Receipt != "" {
		if err := CheckReceiptID(c.Receipt); err != nil {
			return err
		}
	}
	return CheckConflate(c.Conflate)
}
