package inbox

import (
	"fmt"
	"sync/atomic"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
)

// lastBlock watches the block file to which a stream appends. The server keeps it open, and
// notices its removal when it is started next. It removes blocks from the beginning, and
// before it removes the last one it begins another: the greatest number never decreases.
type lastBlock struct {
	greatest uint64      // number that was seen; 0: none yet. Owned by the goroutine of heal
	written  atomic.Bool // something was stored: there is a block
}

// present returns an error if the last block that was seen has been removed.
func (l *lastBlock) present(dir string, k subject.Kind) error {
	written := l.written.Load()
	now, err := account.LastBlock(dir, k)
	if err != nil {
		return err
	}
	if now == 0 && written {
		l.greatest = max(l.greatest, 1)
	}
	if now < l.greatest {
		return fmt.Errorf("block file %d.blk of stream %s is missing", l.greatest, k.Stream())
	}
	l.greatest = now
	return nil
}
