package node

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/registry"
)

// TooManyTopics is Reply.Error for registry.ErrTooManyTopics.
const TooManyTopics = "too many topics"

// Check returns what is wrong with a command, whose fields may hold anything. maxPayload is
// Config.MaxPayload, and durable reports whether a topic is durable.
func Check(c *Command, maxPayload int, durable func(topic string) bool) error {
	if err := checkNames(c); err != nil {
		return err
	}
	if err := checkOptions(c); err != nil {
		return err
	}
	switch c.Verb {
	case VerbPush, VerbPublish, VerbBroadcast, VerbPushMany, VerbRefresh:
		return checkPayload(c, maxPayload)
	case VerbMembers:
		if c.Op != ws.OpText {
			return fmt.Errorf("invalid opcode %d of a presence message", c.Op)
		}
		return checkPayload(c, maxPayload)
	case VerbDeliver:
		if err := c.Audience.Check(); err != nil {
			return err
		}
		return checkPayload(c, maxPayload)
	case VerbPaced:
		if err := CheckPaced(c, durable); err != nil {
			return err
		}
		return checkPayload(c, maxPayload)
	case VerbPacedList, VerbPacedCancel:
		if c.ID == "" && c.Verb == VerbPacedList {
			return nil
		}
		return CheckPacedID(c.ID)
	case VerbPresence, VerbTopicUsers:
		return checkPresence(c)
	case VerbReceipt:
		return CheckReceiptID(c.ID)
	case VerbStored:
		switch {
		case c.Topic != "" && !durable(c.Topic):
			return fmt.Errorf("topic %q is not durable on this node", c.Topic)
		case c.Epoch == "":
			return errors.New("no epoch")
		case c.Offset == 0 || c.Offset > math.MaxInt64 || c.Prev >= c.Offset:
			return fmt.Errorf("invalid offset %d after %d", c.Offset, c.Prev)
		case c.Op == 0: // the message is read from the store
			return nil
		}
		return checkPayload(c, maxPayload)
	case VerbClose:
		if !frame.CloseCodeAllowed(c.Code) {
			return fmt.Errorf("invalid close code %d", c.Code)
		}
		if len(c.Reason) > frame.MaxReason || !utf8.ValidString(c.Reason) {
			return errors.New("invalid close reason")
		}
	}
	return nil
}

func checkPayload(c *Command, most int) error {
	switch {
	case c.Op != ws.OpText && c.Op != ws.OpBinary:
		return fmt.Errorf("invalid opcode %d", c.Op)
	case len(c.Payload) > most:
		return fmt.Errorf("%d bytes, this node's MaxPayload is %d", len(c.Payload), most)
	case c.Op == ws.OpText && !utf8.Valid(c.Payload): // RFC 6455, 8.1
		return errors.New("text is not UTF-8")
	}
	return nil
}

// checkNames checks that the names that the verb needs are there, and are valid.
func checkNames(c *Command) error {
	user, topic := c.User != "", c.Topic != ""
	ok := false
	switch c.Verb {
	case VerbPush, VerbClose, VerbRefresh:
		ok = user
	case VerbPublish, VerbSubscribers, VerbTopicUsers, VerbMembers:
		ok = topic
	case VerbSubscribe, VerbUnsubscribe:
		ok = user && topic
	case VerbStored, VerbSessions:
		ok = user != topic
	case VerbBroadcast, VerbPushMany, VerbRevoke, VerbUnrevoke, VerbDeliver, VerbPaced, VerbPacedList, VerbPacedCancel, VerbPresence, VerbDescribe, VerbReceipt, VerbInquire, VerbOperate:
		ok = true
	default:
		return fmt.Errorf("unknown verb %d", c.Verb)
	}
	if !ok {
		return fmt.Errorf("verb %d: user or topic is missing", c.Verb)
	}
	names := slices.Concat(c.Users, c.Topics)
	if user {
		names = append(names, c.User)
	}
	if topic {
		names = append(names, c.Topic)
	}
	if c.After != "" {
		names = append(names, c.After)
	}
	for _, name := range names {
		if err := registry.CheckName(name); err != nil {
			return err
		}
	}
	return nil
}
