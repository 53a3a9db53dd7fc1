package cluster

import (
	"fmt"

	"fanfare/server"
)

// Check implements server.Cluster: it returns the error that Ask would return whatever
// the state of the connection.
func (c *Cluster) Check(cmd *server.Command) error {
	valid := *cmd
	valid.Reason = cut(cmd.Reason, maxReason)
	if err := checkCommand(&valid); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	size := headerSize + 64 + len(cmd.User) + len(cmd.Topic) + len(cmd.Payload) + len(cmd.Conflate) + len(cmd.Receipt)
	for _, names := range [][]string{cmd.Users, cmd.Topics} {
		for _, name := range names {
			size += 2 + len(name)
		}
	}
	if size > maxMessage {
		return fmt.Errorf("cluster: %w: message is up to %d bytes, nodes carry at most %d", server.ErrTooBig, size, maxMessage)
	}
	return nil
}
